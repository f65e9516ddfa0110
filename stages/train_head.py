"""The head on cached features, and its cross-validation: models/head.safetensors, results/train_head/."""

from unfreeze import files, paths
from unfreeze.console import run
from unfreeze.data.store import open_array
from unfreeze.data.table import read_split
from unfreeze.model.head import HeadParams, build_head
from unfreeze.params import Seed, load
from unfreeze.runtime import RuntimeParams, start
from unfreeze.train.schedule import TrainHeadParams


def main() -> str:
    params = load("train-head", seed=Seed, head=HeadParams, train_head=TrainHeadParams, runtime=RuntimeParams)
    fabric = start(params.runtime, exact=True)
    import torch

    from unfreeze.evaluate.metrics import fold_scores, scores
    from unfreeze.evaluate.results import write_out_of_fold
    from unfreeze.model.network import save_head
    from unfreeze.train.head import cross_validate, fit_head, predict_head
    from unfreeze.train.history import History
    from unfreeze.train.loop import score

    features = torch.tensor(open_array(paths.FEATURES)).to(fabric.device)
    table = read_split(paths.SPLIT_CSV, len(features))
    targets = torch.from_numpy(table.targets).to(fabric.device)
    train, valid = table.rows["train"], table.rows["valid"]
    head = build_head(features.shape[1], len(table.classes), params.head, params.seed).to(fabric.device)

    with History(paths.TRAIN_HEAD) as history:
        for steps in fit_head(
            fabric, head, features, targets, train, params.train_head, (params.seed, "train-head")
        ):
            logits = predict_head(fabric, head, features, valid)
            history.record(steps, "head", *score(logits, targets[valid].cpu()))
    save_head(paths.HEAD, head, params.head, table.classes)

    metrics = {"valid": scores(logits.double().softmax(1).numpy(), table.targets[valid])}
    probabilities = cross_validate(
        fabric,
        features,
        targets,
        table.folds,
        len(table.classes),
        params.head,
        params.train_head,
        params.seed,
    )
    write_out_of_fold(paths.TRAIN_HEAD / "out_of_fold.csv", table, probabilities)
    if table.folds.max() >= 0:
        metrics["cross_validation"] = fold_scores(probabilities, table.targets, table.folds)
    files.write_json(paths.TRAIN_HEAD / "metrics.json", metrics)
    return f"validation accuracy {metrics['valid']['accuracy']:.4f}, log loss {metrics['valid']['log_loss']:.4f}"


if __name__ == "__main__":
    run("train-head", main)
