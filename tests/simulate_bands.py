"""SIMULATED radar records in the form of the iceberg task's archives: no measurement of anything real.

`python tests/simulate_bands.py FOLDER` writes FOLDER/train.json.7z and FOLDER/test.json.7z. They hold
data/processed/train.json, 1,604 labelled records, 133 of them with the angle "na", and data/processed/test.json,
200 records without a label. The same records each time.

What is modelled, each in decibels: sea clutter that falls with the incidence angle and differs from scene to
scene; speckle of four looks (intensity times a gamma variable) in both polarisations; one object near the centre,
a ship (elongated, the co-polarised band far above the cross-polarised one) or an iceberg (rounder, bands closer),
whose sizes, strengths and ratios overlap. A scene gives one to eight records, which share their angle, their label
and what is particular to the scene: a random split sees the scenes of its validation records in training.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

SIDE = 75
LOOKS = 4
TRAIN, NA, TEST = 1604, 133, 200


def scene(rng: np.random.Generator) -> dict[str, float]:
    """What the records of one acquisition share; levels in dB, the angle in degrees."""
    iceberg = int(rng.random() < 0.47)
    return {
        "iceberg": iceberg,
        "angle": round(min(max(rng.normal(39.0 + 0.5 * iceberg, 3.5), 24.75), 45.95), 4),
        "wind": rng.normal(0, 2.5),
        "strength": rng.normal(0, 2.0),
        "ratio": rng.normal(0, 1.3),
    }


def bands(rng: np.random.Generator, of: dict[str, float]) -> np.ndarray:
    """Both bands of one record in dB, float64 `[2, 75, 75]`."""
    steep = of["angle"] - 39.0
    clutter = np.array([-22.0, -27.5]) - np.array([0.45, 0.2]) * steep + of["wind"] * np.array([1.0, 0.6])
    elongation = np.exp(rng.normal(0.45 if of["iceberg"] else 0.85, 0.3))
    area = np.exp(rng.normal(2.35 if of["iceberg"] else 2.2, 0.45))
    peak = rng.normal(-6.5 if of["iceberg"] else -3.5, 3.0) + of["strength"]
    ratio = rng.normal(8.0 if of["iceberg"] else 12.0, 1.3) + of["ratio"] - 0.35 * steep

    y, x = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2
    x, y = x - rng.normal(0, 2.5), y - rng.normal(0, 2.5)
    turn = rng.uniform(0, np.pi)
    along, across = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
    spot = np.exp(-0.5 * (along**2 / (area * elongation) + across**2 * elongation / area))
    levels = np.array([peak, peak - ratio])
    intensity = 10 ** (clutter / 10)[:, None, None] + 10 ** (levels / 10)[:, None, None] * spot
    speckle = rng.gamma(LOOKS, 1 / LOOKS, size=intensity.shape)
    return 10 * np.log10(intensity * speckle)


def records(count: int, na: int, labelled: bool, seed: int) -> Iterator[dict]:
    """`count` records in an order that tells nothing, `na` of them with the angle "na"."""
    rng = np.random.default_rng([seed, 0])
    scenes: list[dict[str, float]] = []
    while len(scenes) < count:
        scenes += [scene(rng)] * int(rng.integers(1, 9))
    without = set(rng.choice(count, na, replace=False).tolist())
    for i, which in enumerate(rng.permutation(count).tolist()):
        one = np.random.default_rng([seed, 1, i])
        values = bands(one, scenes[which]).round(6).reshape(2, -1).tolist()
        record = {"id": one.bytes(4).hex(), "band_1": values[0], "band_2": values[1]}
        record["inc_angle"] = "na" if i in without else scenes[which]["angle"]
        if labelled:
            record["is_iceberg"] = scenes[which]["iceberg"]
        yield record


def write_json(path: Path, made: Iterator[dict]) -> None:
    """Write records as one JSON list, one record at a time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        for i, record in enumerate(made):
            file.write(("[" if i == 0 else ",") + json.dumps(record))
        file.write("]")


def write_archives(folder: Path, train: int = TRAIN, na: int = NA, test: int = TEST, seed: int = 1) -> None:
    """Write train.json.7z and test.json.7z into `folder`."""
    import py7zr

    folder.mkdir(parents=True, exist_ok=True)
    sets = {"train.json": records(train, na, True, seed), "test.json": records(test, 0, False, seed + 1)}
    for name, made in sets.items():
        with TemporaryDirectory() as temporary:
            path = Path(temporary, name)
            write_json(path, made)
            filters = [{"id": py7zr.FILTER_LZMA2, "preset": 0}]
            with py7zr.SevenZipFile(folder / f"{name}.7z", "w", filters=filters) as archive:
                archive.write(path, f"data/processed/{name}")


if __name__ == "__main__":
    write_archives(Path(sys.argv[1]))
