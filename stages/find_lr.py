"""The learning-rate range test of the head on the cached features: results/find_lr/."""

from dataclasses import astuple, fields

from unfreeze import files, paths
from unfreeze.console import run
from unfreeze.data.store import open_array
from unfreeze.data.table import read_split
from unfreeze.model.head import HeadParams, build_head
from unfreeze.params import Seed, load
from unfreeze.runtime import RuntimeParams, start
from unfreeze.train.lr_finder import FindLrParams, Point, range_test, suggest
from unfreeze.train.schedule import StepParams


def main() -> str:
    params = load(
        "find-lr",
        seed=Seed,
        head=HeadParams,
        find_lr=FindLrParams,
        train_head=StepParams,
        runtime=RuntimeParams,
    )
    fabric = start(params.runtime, exact=True)
    import torch

    from unfreeze.train.head import head_step

    features = torch.tensor(open_array(paths.FEATURES)).to(fabric.device)
    table = read_split(paths.SPLIT_CSV, len(features))
    targets = torch.from_numpy(table.targets).to(fabric.device)
    head = build_head(features.shape[1], len(table.classes), params.head, params.seed).to(fabric.device)
    step = head_step(fabric, head, features, targets, table.rows["train"], params.train_head, params.seed)

    curve = range_test(params.find_lr, step)
    suggestion = suggest(curve)
    files.write_csv(paths.FIND_LR / "curve.csv", [f.name for f in fields(Point)], map(astuple, curve))
    files.write_json(paths.FIND_LR / "metrics.json", suggestion)
    steepest, tenth = (f"{rate:.2g}" if rate else "none (too few steps)" for rate in suggestion.values())
    return f"suggested rates for the head: {steepest} (steepest descent), {tenth} (a tenth of the minimum's)"


if __name__ == "__main__":
    run("find-lr", main)
