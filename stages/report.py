"""results/report/: what was learned, in one page that needs nothing else, and lists of suspicious images."""

from unfreeze.core import paths, tables
from unfreeze.core.arrays import open_array
from unfreeze.core.console import run
from unfreeze.core.files import write_text
from unfreeze.core.params import Seed, load
from unfreeze.report.page import render
from unfreeze.report.pictures import Pictures
from unfreeze.report.results import read_results


def main() -> str:
    # 1. Params: the page shows all of them
    params = load(
        "report", seed=Seed, extract=dict, decode=dict, split=dict, model=dict, head=dict, precompute=dict,
        augment=dict, find_lr=dict, train_head=dict, finetune=dict, tta=dict, submission=dict, report=dict,
        runtime=dict,
    )  # fmt: skip

    # 2. What the other stages left, and what looks wrong in the data
    results = read_results(params.seed)
    pictures = Pictures(open_array(paths.PIXELS), params.seed)

    # 3. The page, and the whole lists beside it
    html = render(results, pictures, params=vars(params))
    for name, lines in results.problems.items():
        tables.write(paths.REPORT / f"{name}.csv", lines)
    write_text(paths.REPORT / "index.html", html)
    return f"{paths.REPORT / 'index.html'}, {len(html.encode()) / 1e6:.1f} MB: open it in a browser"


if __name__ == "__main__":
    run("report", main)
