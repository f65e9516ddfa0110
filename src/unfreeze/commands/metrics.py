"""The metrics as a table in a terminal: `python -m unfreeze.commands.metrics`."""

import json
from collections.abc import Mapping

from unfreeze.core import paths

COLUMNS = {
    "count": "images",
    "accuracy": "accuracy",
    "f2": "F2",
    "map": "mAP",
    "top5": "top-5",
    "log_loss": "log loss",
    "roc_auc": "ROC AUC",
    "ece": "ECE",
    "f1": "F1",
    "matthews": "MCC",
    "subset_accuracy": "all right",
}
METHODS = {"prevalence": "frequencies", "head": "head alone", "plain": "network", "tta": "network, TTA"}


def format_table(metrics: Mapping[str, Mapping[str, Mapping[str, float | int | None]]]) -> str:
    """Format the content of results/evaluate/metrics.json, one line a split and method; "-" is undefined."""
    rows = [(part, method, row) for part, methods in metrics.items() for method, row in methods.items()]
    names = [name for name in COLUMNS if any(name in row for *_, row in rows)]
    lines = [f"{'split':7}{'predicted by':14}" + "".join(f"{COLUMNS[name]:>10}" for name in names)]
    for part, method, row in rows:
        cells = (f"{_format_value(row[name]):>10}" for name in names)
        lines.append(f"{part:7}{METHODS.get(method, method):14}" + "".join(cells))
    return "\n".join(lines)


def _format_value(value: float | int | None) -> str:
    if value is None:
        return "-"
    return f"{value:.4f}" if isinstance(value, float) else f"{value:,}"


if __name__ == "__main__":
    print(format_table(json.loads((paths.EVALUATE / "metrics.json").read_text(encoding="utf-8"))))
