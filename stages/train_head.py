"""The head on cached features, and its cross-validation: models/head.safetensors, results/train_head/."""

from unfreeze.core import files, paths
from unfreeze.core.console import run
from unfreeze.core.metrics import DETAILS, write_metrics
from unfreeze.core.params import Seed, load
from unfreeze.device.runtime import RuntimeParams, start
from unfreeze.model.head import HeadParams
from unfreeze.task.predictions import write_held_out
from unfreeze.task.split_table import read_split
from unfreeze.train.lr_finder import choose_lr
from unfreeze.train.schedule import TrainHeadParams


def main() -> str:
    # 1. Params and device; the head always computes in 32 bits.
    params = load("train-head", seed=Seed, head=HeadParams, train_head=TrainHeadParams, runtime=RuntimeParams)
    fabric = start(params.runtime, exact=True)
    import torch

    from unfreeze.features.read import read_features
    from unfreeze.model.network import save_head
    from unfreeze.train.checkpoint import Checkpoint, Saving, fit_resumably
    from unfreeze.train.fit import Plan
    from unfreeze.train.head import HeadData, cross_validate, head_learner, head_paces
    from unfreeze.train.history import History

    # 2. The features, and what the images are.
    features = read_features(folder=paths.FEATURES, numbers=paths.NUMBERS, device=fabric.device)
    table = read_split(paths.SPLIT_CSV, features.count or None)
    task, train, valid = table.task, table.rows["train"], table.rows["valid"]
    targets = torch.from_numpy(table.targets).to(fabric.device)
    data = HeadData(fabric=fabric, features=features, targets=targets, task=task)
    head = data.new_head(params.head, params.seed)

    # 3. Train, from where an interrupted run left off; without features the head stays untrained.
    checkpoint = Checkpoint("train-head")
    with checkpoint, History(paths.TRAIN_HEAD, task.headline, checkpoint.info) as history:
        if not features.count:
            save_head(paths.HEAD, head, params.head, table.classes, lr=None)
            write_held_out(paths.TRAIN_HEAD / "out_of_fold.csv", table)
            write_metrics(paths.TRAIN_HEAD, metrics={}, details={})
            return "skipped: there are no features, the head stays untrained"

        lr = choose_lr(params.train_head.lr, files.read_json(paths.FIND_LR / DETAILS), "train_head.lr")
        checkpoint.restore(head)
        learner = head_learner(
            data=data, head=head, rows=train, params=params.train_head, key=(params.seed, "train-head")
        )
        plan = Plan(rows=train, lr=lr, paces=head_paces(params.train_head, len(train)))
        for steps in fit_resumably(learner, plan, Saving(history=history, checkpoint=checkpoint)):
            history.record(steps, "head", task.score(data.predict(head, valid), targets[valid].cpu()))
    save_head(paths.HEAD, head, params.head, table.classes, lr)

    # 4. Judge it on the validation rows, and by cross-validation where there are folds.
    details = {"lr": lr, "valid": task.scores(data.predict_probabilities(head, valid), table.targets[valid])}
    folded = table.folds >= 0
    held_out = cross_validate(
        data=data, folds=table.folds, head=params.head, params=params.train_head, lr=lr, seed=params.seed
    )
    write_held_out(paths.TRAIN_HEAD / "out_of_fold.csv", table, held_out)
    if folded.any():
        details["cross_validation"] = task.fold_scores(held_out, table.targets[folded], table.folds[folded])
    headline, loss = details["valid"][task.headline], details["valid"]["log_loss"]
    metrics = {"head": headline}
    if params.train_head.lr == "auto":
        metrics["head_lr"] = lr
    write_metrics(paths.TRAIN_HEAD, metrics=metrics, details=details)
    checkpoint.remove()
    return f"validation {task.headline} {headline:.4f}, log loss {loss:.4f}"


if __name__ == "__main__":
    run("train-head", main)
