"""The learning-rate range test of the head on the cached features: results/find_lr/."""

from unfreeze import files, paths
from unfreeze.console import run
from unfreeze.data.table import read_split
from unfreeze.model.head import HeadParams, build_head
from unfreeze.params import Seed, load
from unfreeze.runtime import RuntimeParams, start
from unfreeze.train.lr_finder import FindLrParams, find_lr, suggest, write_curve
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

    from unfreeze.train.head import head_learner, read_features

    features = read_features(paths.FEATURES, paths.NUMBERS, fabric.device)
    curve = []
    if features.count:
        table = read_split(paths.SPLIT_CSV, features.count)
        targets = torch.from_numpy(table.targets).to(fabric.device)
        head = build_head(features.width, len(table.classes), params.head, params.seed).to(fabric.device)
        rows, key = table.rows["train"], (params.seed, "find-lr")
        learner = head_learner(fabric, head, features, targets, rows, params.train_head, key)
        curve = find_lr(params.find_lr, learner, rows)

    suggestion = suggest(curve)
    write_curve(paths.FIND_LR / "curve.csv", curve)
    files.write_json(paths.FIND_LR / "metrics.json", suggestion)
    if not features.count:
        return "skipped: there are no features"
    steepest, tenth = (f"{rate:.2g}" if rate else "none (too few steps)" for rate in suggestion.values())
    return f"suggested rates for the head: {steepest} (steepest descent), {tenth} (a tenth of the minimum's)"


if __name__ == "__main__":
    run("find-lr", main)
