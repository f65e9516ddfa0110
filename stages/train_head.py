"""The head on cached features, and its cross-validation: models/head.safetensors, results/train_head/."""

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
    from unfreeze.train.checkpoint import Checkpoint, fit_resumably
    from unfreeze.train.head import cross_validate, head_learner, head_paces, predict_head, read_features
    from unfreeze.train.history import History
    from unfreeze.train.loop import probabilities
    from unfreeze.train.score import score

    features = read_features(paths.FEATURES, paths.NUMBERS, fabric.device)
    table = read_split(paths.SPLIT_CSV, features.count or None)
    classes = len(table.classes)
    head = build_head(features.width, classes, params.head, params.seed).to(fabric.device)
    checkpoint = Checkpoint("train-head")
    with checkpoint, History(paths.TRAIN_HEAD, table.headline, checkpoint.info) as history:
        if not features.count:
            save_head(paths.HEAD, head, params.head, table.classes, lr=None)
            write_out_of_fold(paths.TRAIN_HEAD / "out_of_fold.csv", table)
            files.write_json(paths.TRAIN_HEAD / "metrics.json", {})
            return "skipped: there are no features, the head stays untrained"

        lr = chosen(params.train_head.lr, files.read_json(paths.FIND_LR / "metrics.json"), "train_head.lr")
        targets = torch.from_numpy(table.targets).to(fabric.device)
        train, valid = table.rows["train"], table.rows["valid"]
        checkpoint.restore(head)
        training = (targets, train, params.train_head, (params.seed, "train-head"))
        learner = head_learner(fabric, head, features, *training)
        schedule = head_paces(params.train_head, len(train))
        for steps in fit_resumably(learner, train, lr, schedule, history, checkpoint):
            logits = predict_head(fabric, head, features, valid)
            history.record(steps, "head", *score(logits, targets[valid].cpu())[:2])
    save_head(paths.HEAD, head, params.head, table.classes, lr)

    judge, logits = multilabel if table.multi else metrics, predict_head(fabric, head, features, valid)
    found = {"lr": lr, "valid": judge.scores(probabilities(logits, table.multi), table.targets[valid])}
    folds = (table.folds, classes, params.head, params.train_head, lr, params.seed)
    held_out = cross_validate(fabric, features, targets, *folds)
    write_out_of_fold(paths.TRAIN_HEAD / "out_of_fold.csv", table, held_out)
    if (folded := table.folds >= 0).any():
        found["cross_validation"] = judge.fold_scores(held_out, table.targets[folded], table.folds[folded])
    files.write_json(paths.TRAIN_HEAD / "metrics.json", found)
    checkpoint.remove()
    headline, loss = found["valid"][table.headline], found["valid"]["log_loss"]
    return f"validation {table.headline} {headline:.4f}, log loss {loss:.4f}"


if __name__ == "__main__":
    run("train-head", main)
