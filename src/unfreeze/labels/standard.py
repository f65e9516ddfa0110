"""Standardises by the training split alone: channels of measured values, and numbers beside an image."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from unfreeze.core.console import UserError

IMAGES_AT_ONCE = 256
"""Images that are read at once."""


@dataclass(frozen=True)
class Standard:
    """What the split stage writes for the stages that train.

    Attributes:
        channels: `mean` and `std` of each channel (`measure_channels`).
        columns: the statistics of each column of numbers (`measure_numbers`).
        inputs: float32 `[N, inputs]`, what the head takes beside the features (`encode_numbers`).
    """

    channels: dict[str, list[float]]
    columns: list[dict]
    inputs: np.ndarray


def standardise(
    pixels: np.ndarray,
    numbers: Sequence[tuple[float | None, ...]],
    names: Sequence[str],
    split: Sequence[str | None],
) -> Standard:
    """Measure channels and numbers on the images that train, and encode the numbers of all N images.

    Args:
        pixels: uint8 or float32 `[N, S, S, C]`.
        numbers: of each image those of the columns `names`, None where one is missing.
        split: of each image; `train` trains.

    Raises:
        UserError: a channel or a column has the same value everywhere, or a column has no number.
    """
    rows = np.flatnonzero([part == "train" for part in split])
    values = np.array(numbers, dtype=np.float64).reshape(len(numbers), len(names))
    columns = measure_numbers(names, values, rows)
    return Standard(
        channels=measure_channels(pixels, rows), columns=columns, inputs=encode_numbers(values, columns)
    )


def measure_channels(pixels: np.ndarray, rows: np.ndarray) -> dict[str, list[float]]:
    """Measure `mean` and `std` of each channel of measured values, float32 `[N, S, S, C]`, over training `rows`.

    Of images, uint8, both are empty. Images are normalised as the network's weights expect, whatever the split, so
    that another split leaves their cached features alone.

    Raises:
        UserError: a channel has the same value everywhere.
    """
    if pixels.dtype == np.uint8:
        return {"mean": [], "std": []}
    batches = [rows[start : start + IMAGES_AT_ONCE] for start in range(0, len(rows), IMAGES_AT_ONCE)]
    # Two passes: the sum of squares less the square of the sum would lose digits far from 0.
    values = len(rows) * pixels.shape[1] * pixels.shape[2]
    mean = sum(pixels[batch].sum((0, 1, 2), dtype=np.float64) for batch in batches) / values
    std = np.sqrt(sum(((pixels[batch] - mean) ** 2).sum((0, 1, 2)) for batch in batches) / values)
    if not std.all():
        raise UserError(
            f"channel {int(std.argmin()) + 1} of the training records has the same value everywhere: {mean}"
        )
    return {"mean": mean.tolist(), "std": std.tolist()}


def measure_numbers(names: Sequence[str], values: np.ndarray, rows: np.ndarray) -> list[dict]:
    """Measure each column of numbers on the training `rows` alone.

    Args:
        values: float64 `[N, E]`, NaN where a number is missing.

    Returns:
        For each column its `name`; its `median`, which stands for a missing number; `mean` and `std` of the
        numbers that are there; `indicator`, whether a column of its own says which numbers are missing. There is
        none if training misses no number: a head cannot learn from a column of zeros what a one means.

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


def encode_numbers(values: np.ndarray, statistics: Sequence[Mapping]) -> np.ndarray:
    """Encode numbers as the head takes them beside the features: float32 `[N, inputs]`.

    Each column gives its standardised numbers, with the median in place of missing ones. If it has an indicator,
    a column follows that is 1 where the number is missing, else 0.

    Args:
        values: float64 `[N, E]`, NaN where a number is missing.
        statistics: of each column, as `measure_numbers` returns them.
    """
    inputs = []
    for column, s in zip(values.T, statistics, strict=True):
        missing = np.isnan(column)
        inputs.append((np.where(missing, s["median"], column) - s["mean"]) / s["std"])
        if s["indicator"]:
            inputs.append(missing)
    return np.array(inputs, dtype=np.float32).reshape(len(inputs), len(values)).T.copy()
