"""Photograph-like JPEGs to measure with, always the same ones: clouds of 1/f noise, a colour for each class."""

import os
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from unfreeze.core import draws
from unfreeze.core.console import progress

CLASSES = 10


def photo(number: int, width: int, height: int) -> Image.Image:
    """Photograph `number`, of class `number % CLASSES`."""
    noise = draws.uniform(np.arange(height), 3 * width, number, "photo").reshape(height, width, 3) - 0.5
    frequency = np.hypot(*np.meshgrid(np.fft.rfftfreq(width), np.fft.fftfreq(height)))
    spectrum = np.fft.rfft2(noise, axes=(0, 1)) / np.maximum(frequency, 1 / width)[..., None] ** 1.2
    spectrum[0, 0] = 0
    clouds = np.fft.irfft2(spectrum, s=(height, width), axes=(0, 1))
    grey = clouds.mean(2, keepdims=True)  # the channels of photographs go together
    clouds = 0.8 * grey + 0.2 * clouds + 0.005 * noise * clouds.std()
    angle = 2 * np.pi * (number % CLASSES / CLASSES + np.arange(3) / 3)
    values = 128 + 45 * clouds / clouds.std() + 12 * np.cos(angle)
    return Image.fromarray(np.clip(values, 0, 255).astype(np.uint8))


def _write(folder: Path, width: int, height: int, quality: int, number: int) -> None:
    part = "valid" if number // CLASSES % 5 == 4 else "train"
    path = folder / part / f"class_{number % CLASSES}" / f"{number:05}.jpg"
    path.parent.mkdir(parents=True, exist_ok=True)
    photo(number, width, height).save(path, quality=quality)


def write_photos(folder: Path, count: int, width: int = 500, height: int = 375, quality: int = 85) -> None:
    """Write `count` photographs into folders of parts and classes, every fifth of a class for validation."""
    with ProcessPoolExecutor(os.cpu_count()) as pool, progress(count, "photographs") as bar:
        for _ in pool.map(partial(_write, folder, width, height, quality), range(count), chunksize=16):
            bar.update()
