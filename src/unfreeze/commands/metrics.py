"""The metrics as a table in a terminal: `unfreeze metrics`."""

from collections.abc import Mapping

from unfreeze.core import paths
from unfreeze.core.console import UserError
from unfreeze.core.files import read_json
from unfreeze.core.metrics import DETAILS
from unfreeze.task.kinds import TASKS

COLUMNS = (
    *("count", "accuracy", "f2", "map", "top5", "log_loss", "roc_auc", "ece", "f1", "matthews"),
    "subset_accuracy",
)
"""The metrics that the table has, in this order."""
TITLES = {"count": "images"} | {metric.key: metric.title for task in TASKS.values() for metric in task.metrics}
METHODS = {"prevalence": "frequencies", "head": "head alone", "plain": "network", "tta": "network, TTA"}


def show_metrics() -> str:
    """Format the metrics of the workspace.

    Raises:
        UserError: there are none.
    """
    path = paths.EVALUATE / DETAILS
    if not path.is_file():
        raise UserError(f"{path} is not here; dvc repro makes it")
    table, finetuning = format_table(read_json(path)), paths.FINETUNE / DETAILS
    if finetuning.is_file() and not read_json(finetuning).get("epochs"):
        table += "\nnothing was fine-tuned: the network is the frozen backbone under the trained head"
    return table


def format_table(metrics: Mapping[str, Mapping[str, Mapping[str, float | int | None]]]) -> str:
    """Format the content of results/evaluate/details.json, one line a split and method; "-" is undefined."""
    rows = [(part, method, row) for part, methods in metrics.items() for method, row in methods.items()]
    names = [name for name in COLUMNS if any(name in row for *_, row in rows)]
    lines = [f"{'split':7}{'predicted by':14}" + "".join(f"{TITLES[name]:>10}" for name in names)]
    for part, method, row in rows:
        cells = (f"{_format_value(row[name]):>10}" for name in names)
        lines.append(f"{part:7}{METHODS.get(method, method):14}" + "".join(cells))
    return "\n".join(lines)


def _format_value(value: float | int | None) -> str:
    if value is None:
        return "-"
    return f"{value:.4f}" if isinstance(value, float) else f"{value:,}"
