"""Decoding by DCT scaling against the exact path: speed and difference, on made photographs.

    python -m benchmarks.decode

Decodes JPEGs of 12 megapixels and of 500 x 375 to several stored sizes, in one process and on all cores; a process
holds its JPEGs in memory, so that no disk is measured. Rounds of both ways alternate; printed are medians: of one
process by its CPU time, which other programs disturb least, of all cores by the clock.
"""

import argparse
import io
import os
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from unittest.mock import patch

import numpy as np
from PIL import Image, ImageDraw

from unfreeze.images import convert

KINDS = {"12 megapixels": (4000, 3000, 2), "500 x 375": (500, 375, 60)}
"""Width, height, and how many of them."""
SIZES = (128, 256, 512)


def photo(width: int, height: int, seed: int) -> bytes:
    """A JPEG (quality 90, 4:2:0) with the statistics of a photograph: amplitudes that fall as 1 / frequency, edges
    of objects in front of each other, and the noise of a sensor."""
    rng = np.random.default_rng(seed)
    tile = (-(-height // 4), -(-width // 4))  # one in sixteen is drawn, and it fits to itself at its edges
    frequency = np.hypot(np.fft.fftfreq(tile[0])[:, None], np.fft.rfftfreq(tile[1]))
    frequency[0, 0] = np.inf
    grey, *colours = (np.fft.irfft2(np.fft.rfft2(rng.normal(size=tile)) / frequency, tile) for _ in range(4))
    texture = np.stack([18 * grey / grey.std() + 5 * each / each.std() for each in colours], axis=2)
    texture += rng.normal(0, 1.5, texture.shape)
    back = Image.new("RGB", (width, height))
    draw = ImageDraw.Draw(back)
    for size in np.geomspace(1, 0.02, 150):  # far and large ones first
        x, y = rng.uniform(-0.2, 1, 2) * (width, height)
        w, h = rng.uniform(0.3, 1, 2) * size * height
        shape = draw.ellipse if rng.random() < 0.5 else draw.rectangle
        shape((x, y, x + w, y + h), tuple(rng.integers(0, 256, 3).tolist()))
    tiled = np.tile(texture.astype(np.float32), (4, 4, 1))[:height, :width]
    pixels = (118 + 0.4 * (np.asarray(back, dtype=np.float32) - 118) + tiled).clip(0, 255).astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=90)
    return stream.getvalue()


def decode(photos: list[bytes], size: int, exact: bool) -> np.ndarray:
    """`[len(photos), size, size, 3]`."""
    with patch.object(convert, "OVERSAMPLING", 10**6 if exact else convert.OVERSAMPLING):
        return np.stack([convert.decode_image(data, size, "crop").pixels for data in photos])


def seconds(photos: list[bytes], size: int, exact: bool) -> float:
    """CPU-seconds of one process decoding `photos`."""
    started = time.process_time()
    decode(photos, size, exact)
    return time.process_time() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    cores = len(os.sched_getaffinity(0))
    print(f"images a second, exact -> scaled; difference of the pixels in levels (RMSE, largest); {cores} cores")
    with ProcessPoolExecutor(cores, get_context("fork")) as pool:
        for kind, (width, height, count) in KINDS.items():
            photos = [photo(width, height, seed) for seed in range(count)]
            print(f"{kind}, {np.mean([len(data) for data in photos]) / 1e6:.2f} MB each")
            for size in SIZES if width > 1000 else (256,):
                times: dict[tuple[bool, bool], list[float]] = {}
                for _ in range(args.rounds):
                    for exact in (True, False):
                        times.setdefault((exact, False), []).append(seconds(photos, size, exact))
                        started = time.perf_counter()
                        list(pool.map(seconds, [photos] * cores, [size] * cores, [exact] * cores))
                        times.setdefault((exact, True), []).append((time.perf_counter() - started) / cores)
                rate = {key: count / np.median(each) for key, each in times.items()}
                gap = decode(photos, size, False).astype(float) - decode(photos, size, True)
                print(
                    f"  stored at {size}: one process {rate[True, False]:.1f} -> {rate[False, False]:.1f} "
                    f"({rate[False, False] / rate[True, False]:.1f}x), all cores {rate[True, True]:.1f} -> "
                    f"{rate[False, True]:.1f}; RMSE {np.sqrt((gap**2).mean()):.2f}, largest {abs(gap).max():.0f}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
