"""Prints predictions: as a table, JSON lines or CSV."""

import csv
import io
import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any, Literal

from tqdm import tqdm

from unfreeze.commands.classifier import Prediction


def print_predictions(
    predictions: Iterable[Prediction],
    classes: Sequence[str],
    form: Literal["table", "json", "csv"],
    top: int | None,
) -> int:
    """Print predictions as they come, and the reason of each failed one on stderr.

    Args:
        classes: their names, in the network's order.
        form: `table` shows the most probable classes, `json` and `csv` all of them.
        top: how many classes the table shows; None: the predicted ones.

    Returns:
        The exit status: 1 if any image failed, else 0.
    """
    count = failed = 0
    if form == "csv":
        print(_format_csv(["path", "predicted", *(f"p_{name}" for name in classes), "error"]))
    for prediction in predictions:
        count += 1
        if prediction.error:
            failed += 1
            tqdm.write(f"predict: {_escape_path(prediction.path)}: {prediction.error}", file=sys.stderr)
        if form == "json":
            tqdm.write(_format_json(prediction))
        elif form == "csv":
            values = [prediction.probabilities.get(name, "") for name in classes]
            tqdm.write(_format_csv([prediction.path, prediction.predicted, *values, prediction.error]))
        elif not prediction.error:
            tqdm.write(_format_row(prediction, classes, top))
    if failed:
        print(f"predict: {failed:,} of {count:,} failed", file=sys.stderr)
    return 1 if failed else 0


def _format_json(prediction: Prediction) -> str:
    content: dict[str, Any] = {"path": prediction.path}
    if prediction.error:
        content["error"] = prediction.error
    else:
        several = prediction.thresholds is not None
        predicted = prediction.labels if several else prediction.predicted
        content |= {"predicted": predicted, "probabilities": prediction.probabilities}
    return json.dumps(content, ensure_ascii=False, allow_nan=False)


def _format_csv(values: Sequence[object]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(values)
    return line.getvalue()


def _format_row(prediction: Prediction, classes: Sequence[str], top: int | None) -> str:
    width = max(map(len, classes))
    shown = [item for item in prediction.ranked if top or item[0] in prediction.labels]
    columns = [f"{name:<{width}} {value:.4f}" for name, value in shown[:top]] or [prediction.predicted]
    return "  ".join([f"{_escape_path(prediction.path):<40}", *columns])


def _escape_path(path: str) -> str:
    """Return a path without characters that a terminal would obey."""
    return path if path.isprintable() else ascii(path)[1:-1]
