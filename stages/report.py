"""results/report/: what was learned, in one page that needs nothing else, and lists of suspicious images."""

from unfreeze import paths
from unfreeze.console import UserError, run
from unfreeze.data.store import open_array
from unfreeze.files import read_csv, read_json, read_table, write_csv, write_text
from unfreeze.params import Seed, load, read_yaml
from unfreeze.report import problems
from unfreeze.report.galleries import read_held_out, read_predictions
from unfreeze.report.page import Results, render
from unfreeze.report.pictures import Pictures


def main() -> str:
    params = load(
        "report", seed=Seed, extract=dict, decode=dict, split=dict, model=dict, head=dict, precompute=dict,
        augment=dict, find_lr=dict, train_head=dict, finetune=dict, tta=dict, submission=dict, report=dict,
        runtime=dict,
    )  # fmt: skip
    results = _results(params.seed)
    html = render(results, Pictures(open_array(paths.PIXELS), params.seed), vars(params))
    for name, lines in results.problems.items():
        kind = f"{name}_of_several" if name == "label_errors" and results.predictions.multi else name
        columns = problems.COLUMNS[kind]
        write_csv(paths.REPORT / f"{name}.csv", columns, ([line[key] for key in columns] for line in lines))
    write_text(paths.REPORT / "index.html", html)
    return f"{paths.REPORT / 'index.html'}, {len(html.encode()) / 1e6:.1f} MB: open it in a browser"


def _results(seed: int) -> Results:
    try:
        predictions = read_predictions(paths.EVALUATE / "predictions.csv")
        held_out = read_held_out(paths.TRAIN_HEAD / "out_of_fold.csv", predictions.classes)
        features, split = open_array(paths.FEATURES / "plain.npy"), read_table(paths.SPLIT_CSV)
        return Results(
            predictions=predictions,
            metrics=read_json(paths.EVALUATE / "metrics.json"),
            per_class=read_csv(paths.EVALUATE / "per_class.csv"),
            reliability=read_csv(paths.EVALUATE / "reliability.csv"),
            confusion=read_csv(paths.EVALUATE / "confusion.csv"),
            lr_curve=read_csv(paths.FIND_LR / "curve.csv"),
            lr_suggestions=read_json(paths.FIND_LR / "metrics.json"),
            head_steps=read_csv(paths.TRAIN_HEAD / "steps.csv"),
            head_epochs=read_csv(paths.TRAIN_HEAD / "epochs.csv"),
            head_metrics=read_json(paths.TRAIN_HEAD / "metrics.json"),
            finetune_steps=read_csv(paths.FINETUNE / "steps.csv"),
            finetune_epochs=read_csv(paths.FINETUNE / "epochs.csv"),
            finetune_curve=read_csv(paths.FINETUNE / "lr_curve.csv"),
            finetune_metrics=read_json(paths.FINETUNE / "metrics.json"),
            images=read_table(paths.IMAGES_CSV, ["width", "height", "format"]),
            rejected=read_csv(paths.REJECTED_CSV),
            split=split,
            duplicates=read_table(paths.DUPLICATES_CSV),
            features=features,
            heat=open_array(paths.EVALUATE / "gradcam.npy"),
            heat_rows=read_csv(paths.EVALUATE / "gradcam.csv"),
            problems=problems.tables(predictions, held_out, split, features, seed),
            recipes={path.name: read_yaml(path) for path in sorted(paths.RECIPES.glob("*.yaml"))},
        )
    except FileNotFoundError as error:
        raise UserError(f"{error.filename} is not here: run dvc repro report, which makes it") from None


if __name__ == "__main__":
    run("report", main)
