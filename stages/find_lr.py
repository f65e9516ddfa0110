"""The learning-rate range test of the head on the cached features: results/find_lr/."""

from unfreeze.core import files, paths
from unfreeze.core.console import run
from unfreeze.core.metrics import DETAILS
from unfreeze.core.params import Seed, load
from unfreeze.device.runtime import RuntimeParams, start
from unfreeze.model.head import HeadParams
from unfreeze.task.split_table import read_split
from unfreeze.train.lr_finder import FindLrParams, find_lr, suggest, write_curve
from unfreeze.train.schedule import StepParams


def main() -> str:
    # 1. Params and device; the head always computes in 32 bits.
    params = load(
        "find-lr", seed=Seed, head=HeadParams, find_lr=FindLrParams, train_head=StepParams, runtime=RuntimeParams
    )
    fabric = start(params.runtime, exact=True)
    import torch

    from unfreeze.features.read import read_features
    from unfreeze.train.head import HeadData, head_learner

    # 2. Test the rates on the training rows; without features there is nothing to test.
    features = read_features(folder=paths.FEATURES, numbers=paths.NUMBERS, device=fabric.device)
    curve = []
    if features.count:
        table = read_split(paths.SPLIT_CSV, features.count)
        targets = torch.from_numpy(table.targets).to(fabric.device)
        data = HeadData(fabric=fabric, features=features, targets=targets, task=table.task)
        learner = head_learner(
            data=data,
            head=data.new_head(params.head, params.seed),
            rows=table.rows["train"],
            params=params.train_head,
            key=(params.seed, "find-lr"),
        )
        curve = find_lr(params.find_lr, learner, table.rows["train"])

    # 3. Write the curve and the suggestions.
    suggestions = suggest(curve)
    write_curve(paths.FIND_LR / "curve.csv", curve)
    files.write_json(paths.FIND_LR / DETAILS, suggestions)  # not rounded: `lr: auto` trains with them
    if not features.count:
        return "skipped: there are no features"
    steepest, tenth = (f"{rate:.2g}" if rate else "none (too few steps)" for rate in suggestions.values())
    return f"suggested rates for the head: {steepest} (steepest descent), {tenth} (a tenth of the minimum's)"


if __name__ == "__main__":
    run("find-lr", main)
