"""DVC's plots in one page without a network: `python -m unfreeze.plots [REVISION ...]`, or `make plots`.

`dvc plots show` and `diff` write pages that load three scripts from a CDN. This renders the same specifications.
"""

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path

from unfreeze.console import UserError
from unfreeze.files import write_text

PAGE = Path("results/plots.html")


def specifications(revisions: Sequence[str]) -> Iterator[tuple[str, str]]:
    """The title and the Vega-Lite specification of each plot, of the workspace or of `revisions` side by side."""
    command = ["dvc", "plots", *(["diff", *revisions] if revisions else ["show"]), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError(f"{' '.join(command)} failed: {done.stderr.strip()[-500:]}")
    for title, parts in json.loads(done.stdout[done.stdout.index("{") :])["data"].items():
        for part in parts:
            if part["type"] == "vega":
                content = part["content"]
                yield title, content if isinstance(content, str) else json.dumps(content)


def page(revisions: Sequence[str]) -> tuple[str, int]:
    """The page, and how many plots it has."""
    import vl_convert

    charts = [(title, vl_convert.vegalite_to_svg(text)) for title, text in specifications(revisions)]
    figures = "\n".join(f"<figure><figcaption>{escape(title)}</figcaption>{svg}</figure>" for title, svg in charts)
    return (
        '<!doctype html>\n<html lang="en"><meta charset="utf-8"><title>Plots</title>\n'
        "<style>body{font:16px system-ui;margin:2rem;display:flex;flex-wrap:wrap;gap:2rem;background:#fff}"
        "figure{margin:0}figcaption{font-weight:600}svg{max-width:100%;height:auto}</style>\n"
        f"{figures}\n</html>\n"
    ), len(charts)


def main() -> int:
    try:
        html, count = page(sys.argv[1:])
    except UserError as error:
        print(f"plots: {error}", file=sys.stderr)
        return 2
    write_text(PAGE, html)
    print(f"{count} plots in {PAGE}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
