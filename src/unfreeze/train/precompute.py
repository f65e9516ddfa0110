"""The frozen backbone's features of every image, computed once, so that the head trains in seconds."""

import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from lightning_fabric import Fabric
from torch import Tensor

from unfreeze.console import progress
from unfreeze.data.store import ArrayWriter
from unfreeze.model.network import Network
from unfreeze.runtime import ahead, predict_batch
from unfreeze.train.augment import Images, PrecomputeParams
from unfreeze.train.loop import predict, predicted

BLOCK = 2048
"""Images whose features are written at once."""


def write_features(
    folder: Path, fabric: Fabric, network: Network, images: Images, params: PrecomputeParams, seed: int
) -> tuple[int, int]:
    """Write what `network` makes of the views of all images: plain.npy and view_00.npy ..., float32 `[N, F]`.

    Several ranks share out the images, and the first one writes. Returns `(N, F)`; N is 0 with `precompute.skip`.
    """
    count = 0 if params.skip else len(images.pixels)
    width = predict(fabric, network, images.plain, np.arange(1), 1).shape[1]

    def inputs(batch, view):
        return images.augmented(batch, view, params, seed, "precompute") if view >= 0 else images.plain(batch)

    first, step = fabric.is_global_zero, BLOCK * fabric.world_size
    blocks = [np.arange(start, min(start + step, count)) for start in range(0, count, step)]
    batch_size = predict_batch(fabric.device, images.size)
    if first:
        shutil.rmtree(folder, ignore_errors=True)  # an earlier run may have had more views
    with progress(count * (1 + params.views), "precompute-features") as bar:
        for view in range(-1, params.views):
            name = f"view_{view:02}" if view >= 0 else "plain"
            writer = ArrayWriter(folder / f"{name}.npy", (width,), np.float32)
            found = predicted(fabric, network, inputs, blocks, batch_size, view, bar.update)
            if first:
                _write(writer, found)
            else:
                for _ in found:
                    pass
    return count, width


def _write(writer: ArrayWriter, found: Iterator[Tensor]) -> None:
    """Append each block to the array while the next one is computed."""

    def write(block: Tensor) -> None:
        writer.append(block.numpy())
        writer.sync()

    with writer, ThreadPoolExecutor(1) as beside:
        for _ in ahead(beside, write, found, 2):
            pass
