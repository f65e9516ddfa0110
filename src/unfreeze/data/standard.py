"""What is standardised by the training split alone: channels of measured values, and numbers beside an image."""

from collections.abc import Mapping, Sequence

import numpy as np

from unfreeze.console import UserError

BLOCK = 256
"""Images read at once."""


def standardise(
    pixels: np.ndarray,
    numbers: Sequence[tuple[float | None, ...]],
    names: Sequence[str],
    split: Sequence[str | None],
) -> tuple[dict[str, list[float]], list[dict], np.ndarray]:
    """What the split stage stores: `channel_normalisation`, `number_statistics` and `number_inputs`.

    `numbers[i]` are those beside image i, None where one is missing; `split[i]` says whether it trains.
    """
    rows = np.flatnonzero([part == "train" for part in split])
    values = np.array(numbers, dtype=np.float64).reshape(len(numbers), len(names))
    statistics = number_statistics(names, values, rows)
    return channel_normalisation(pixels, rows), statistics, number_inputs(values, statistics)


def channel_normalisation(pixels: np.ndarray, rows: np.ndarray) -> dict[str, list[float]]:
    """`mean` and `std` of each channel of measured values, float32 `[N, S, S, C]`, over the training `rows`.

    Of images, uint8, both are empty: they are normalised as the network's weights expect, whatever the split, so
    that another split leaves their cached features alone.

    Raises:
        UserError: a channel has the same value everywhere.
    """
    if pixels.dtype == np.uint8:
        return {"mean": [], "std": []}
    blocks = [rows[start : start + BLOCK] for start in range(0, len(rows), BLOCK)]
    # Two passes: the sum of squares less the square of the sum would lose digits far from 0.
    each = len(rows) * pixels.shape[1] * pixels.shape[2]
    mean = sum(pixels[block].sum((0, 1, 2), dtype=np.float64) for block in blocks) / each
    std = np.sqrt(sum(((pixels[block] - mean) ** 2).sum((0, 1, 2)) for block in blocks) / each)
    if not std.all():
        raise UserError(
            f"channel {int(std.argmin()) + 1} of the training records has the same value everywhere: {mean}"
        )
    return {"mean": mean.tolist(), "std": std.tolist()}


def number_statistics(names: Sequence[str], values: np.ndarray, rows: np.ndarray) -> list[dict]:
    """How each column of numbers is standardised, by the training `rows` alone.

    Args:
        values: float64 `[N, E]`, NaN where a number is missing.

    Returns:
        For each column its `name`; `median`, which stands for a missing number; `mean` and `std` of what is there;
        `indicator`, whether a column says which numbers are missing. Without a missing one in training there is
        none: a head cannot learn from a column of zeros what a one would mean.

    Raises:
        UserError: a column has no numbers in training, or only one.
    """
    statistics = []
    for name, column in zip(names, values[rows].T, strict=True):
        known = column[~np.isnan(column)]
        if not len(known) or known.min() == known.max():
            raise UserError(
                f"split.numbers: {name} has {'one and the same number' if len(known) else 'no number'} in all "
                "training images; leave it out"
            )
        statistics.append(
            {
                "name": name,
                "median": float(np.median(known)),
                "mean": float(known.mean()),
                "std": float(known.std()),
                "indicator": len(known) < len(column),
            }
        )
    return statistics


def number_inputs(values: np.ndarray, statistics: Sequence[Mapping]) -> np.ndarray:
    """What the head takes beside the features: float32 `[N, inputs]`.

    `values` as in `number_statistics`, which made `statistics`. For each column its standardised numbers, the
    median in place of missing ones, and then, if there is an indicator, 1 where the number is missing, else 0.
    """
    columns = []
    for column, s in zip(values.T, statistics, strict=True):
        missing = np.isnan(column)
        columns.append((np.where(missing, s["median"], column) - s["mean"]) / s["std"])
        if s["indicator"]:
            columns.append(missing)
    return np.array(columns, dtype=np.float32).reshape(len(columns), len(values)).T.copy()
