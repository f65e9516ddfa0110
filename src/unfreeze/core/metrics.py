"""The numbers that a stage leaves: `metrics.json`, the few that DVC compares, and `details.json`, all of them.

Both have six significant digits. The sums of another NumPy differ from the 16th digit on; with all digits they
would change the hashes in dvc.lock and nothing else. What trains is not rounded: see `stages/find_lr.py`.
"""

from pathlib import Path
from typing import Any

from unfreeze.core.files import write_json

METRICS, DETAILS = "metrics.json", "details.json"
DIGITS = 6


def round_numbers(value: Any, digits: int = DIGITS) -> Any:
    """Return a JSON value whose floats have at most so many significant digits; all else stays as it is."""
    if isinstance(value, float):
        return float(f"{value:.{digits}g}")
    if isinstance(value, dict):
        return {key: round_numbers(each, digits) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [round_numbers(each, digits) for each in value]
    return value


def write_metrics(folder: Path, metrics: dict[str, Any], details: dict[str, Any]) -> None:
    """Write `metrics` to metrics.json and `details` to details.json, rounded.

    `dvc exp show` has a column for each metric that differs, headed by its path in the file: keep them few and
    their names short.
    """
    write_json(folder / DETAILS, round_numbers(details))
    write_json(folder / METRICS, round_numbers(metrics))
