"""results/report/index.html: what was learned, in one page that needs nothing else."""

import json
from pathlib import Path
from typing import Any

from unfreeze import paths
from unfreeze.console import UserError, run
from unfreeze.data.store import open_array
from unfreeze.files import read_csv, write_text
from unfreeze.model.backbone import ModelParams
from unfreeze.params import Seed, load
from unfreeze.report.galleries import ReportParams, read_predictions
from unfreeze.report.page import Results, render
from unfreeze.report.pictures import Pictures


def main() -> str:
    params = load("report", report=ReportParams, model=ModelParams, seed=Seed)
    shown = {
        "seed": params.seed,
        "model": params.model.model_dump(),
        "report": params.report.model_dump(),
    }
    html = render(_results(), Pictures(open_array(paths.PIXELS), params.seed), shown)
    write_text(paths.REPORT_HTML, html)
    return f"{paths.REPORT_HTML}, {len(html.encode()) / 1e6:.1f} MB: open it in a browser"


def _results() -> Results:
    try:
        return Results(
            predictions=read_predictions(paths.EVALUATE / "predictions.csv"),
            metrics=_read_json(paths.EVALUATE / "metrics.json"),
            per_class=read_csv(paths.EVALUATE / "per_class.csv"),
            reliability=read_csv(paths.EVALUATE / "reliability.csv"),
            confusion=read_csv(paths.EVALUATE / "confusion.csv"),
            lr_curve=read_csv(paths.FIND_LR / "curve.csv"),
            lr_suggestions=_read_json(paths.FIND_LR / "metrics.json"),
            head_steps=read_csv(paths.TRAIN_HEAD / "steps.csv"),
            head_epochs=read_csv(paths.TRAIN_HEAD / "epochs.csv"),
            head_metrics=_read_json(paths.TRAIN_HEAD / "metrics.json"),
            finetune_steps=read_csv(paths.FINETUNE / "steps.csv"),
            finetune_epochs=read_csv(paths.FINETUNE / "epochs.csv"),
            finetune_curve=read_csv(paths.FINETUNE / "lr_curve.csv"),
            finetune_metrics=_read_json(paths.FINETUNE / "metrics.json"),
            images=read_csv(paths.IMAGES_CSV),
            rejected=read_csv(paths.REJECTED_CSV),
            split=read_csv(paths.SPLIT_CSV),
            duplicates=read_csv(paths.DUPLICATES_CSV),
        )
    except FileNotFoundError as error:
        raise UserError(f"{error.filename} is not here: run dvc repro report, which makes it") from None


def _read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


if __name__ == "__main__":
    run("report", main)
