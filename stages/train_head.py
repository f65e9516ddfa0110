"""The head on cached features, and its cross-validation: models/head.safetensors, results/train_head/."""

import json

from unfreeze import files, paths
from unfreeze.console import run
from unfreeze.data.table import read_split
from unfreeze.model.head import HeadParams, build_head
from unfreeze.params import Seed, load
from unfreeze.runtime import RuntimeParams, start
from unfreeze.train.lr_finder import chosen
from unfreeze.train.schedule import TrainHeadParams


def main() -> str:
    params = load("train-head", seed=Seed, head=HeadParams, train_head=TrainHeadParams, runtime=RuntimeParams)
    fabric = start(params.runtime, exact=True)
    import torch

    from unfreeze.evaluate import metrics, multilabel
    from unfreeze.evaluate.results import write_out_of_fold
    from unfreeze.model.network import save_head
    from unfreeze.train.head import cross_validate, fit_head, predict_head, read_features
    from unfreeze.train.history import History
    from unfreeze.train.loop import probabilities
    from unfreeze.train.score import score

    features = read_features(paths.FEATURES, paths.NUMBERS, fabric.device)
    table = read_split(paths.SPLIT_CSV, features.count or None)
    classes = len(table.classes)
    head = build_head(features.width, classes, params.head, params.seed).to(fabric.device)
    with History(paths.TRAIN_HEAD, table.headline) as history:
        if not features.count:
            save_head(paths.HEAD, head, params.head, table.classes, lr=None)
            write_out_of_fold(paths.TRAIN_HEAD / "out_of_fold.csv", table)
            files.write_json(paths.TRAIN_HEAD / "metrics.json", {})
            return "skipped: there are no features, the head stays untrained"

        suggestions = json.loads((paths.FIND_LR / "metrics.json").read_text(encoding="utf-8"))
        lr = chosen(params.train_head.lr, suggestions, "train_head.lr")
        targets = torch.from_numpy(table.targets).to(fabric.device)
        train, valid = table.rows["train"], table.rows["valid"]
        training = (params.train_head, lr)
        for steps in fit_head(fabric, head, features, targets, train, *training, (params.seed, "train-head")):
            logits = predict_head(fabric, head, features, valid)
            history.record(steps, "head", *score(logits, targets[valid].cpu())[:2])
    save_head(paths.HEAD, head, params.head, table.classes, lr)

    judge = multilabel if table.multi else metrics
    found = {"lr": lr, "valid": judge.scores(probabilities(logits, table.multi), table.targets[valid])}
    folds = (table.folds, classes, params.head, *training, params.seed)
    held_out = cross_validate(fabric, features, targets, *folds)
    write_out_of_fold(paths.TRAIN_HEAD / "out_of_fold.csv", table, held_out)
    if table.folds.max() >= 0:
        found["cross_validation"] = judge.fold_scores(held_out, table.targets, table.folds)
    files.write_json(paths.TRAIN_HEAD / "metrics.json", found)
    headline, loss = found["valid"][table.headline], found["valid"]["log_loss"]
    return f"validation {table.headline} {headline:.4f}, log loss {loss:.4f}"


if __name__ == "__main__":
    run("train-head", main)
