"""DVC's plots in one page without a network: `unfreeze plots [REVISION]...`, or `make plots`.

`dvc plots show` and `dvc plots diff` write pages that load three scripts from a CDN. This module renders the same
specifications.
"""

import json
import subprocess
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path

from unfreeze.core.console import UserError
from unfreeze.core.files import write_text

PAGE = Path("results/plots.html")


def read_specifications(revisions: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield title and Vega-Lite specification of each plot, of the workspace or of `revisions` side by side.

    Raises:
        UserError: dvc failed.
    """
    command = ["dvc", "plots", *(["diff", *revisions] if revisions else ["show"]), "--json"]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    if process.returncode:
        raise UserError(f"{' '.join(command)} failed: {process.stderr.strip()[-500:]}")
    for title, parts in json.loads(process.stdout[process.stdout.index("{") :])["data"].items():
        for part in parts:
            if part["type"] == "vega":
                content = part["content"]
                yield title, content if isinstance(content, str) else json.dumps(content)


def render_page(revisions: Sequence[str]) -> tuple[str, int]:
    """Return the page as HTML text, and how many plots it has."""
    import vl_convert

    charts = [(title, vl_convert.vegalite_to_svg(text)) for title, text in read_specifications(revisions)]
    figures = "\n".join(f'<figure aria-label="{escape(title)}">{svg}</figure>' for title, svg in charts)
    return (
        '<!doctype html>\n<html lang="en"><meta charset="utf-8"><title>Plots</title>\n'
        "<style>body{font:16px system-ui;margin:2rem;display:flex;flex-wrap:wrap;gap:2rem;background:#fff}"
        "figure{margin:0}svg{max-width:100%;height:auto}</style>\n"
        f"{figures}\n</html>\n"
    ), len(charts)


def write_page(revisions: Sequence[str]) -> int:
    """Write the page of the workspace, or of `revisions` side by side; return how many plots it has.

    Raises:
        UserError: dvc failed.
    """
    html, count = render_page(revisions)
    write_text(PAGE, html)
    return count
