"""The frozen backbone's features of every image, computed once, so that the head trains in seconds."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path

import numpy as np
from lightning_fabric import Fabric

from unfreeze.console import progress
from unfreeze.data.store import ArrayWriter
from unfreeze.model.network import Network
from unfreeze.runtime import predict_batch
from unfreeze.train.augment import Images, PrecomputeParams
from unfreeze.train.loop import predict

BLOCK = 4096
"""Images whose features are written at once."""


def write_features(
    folder: Path, fabric: Fabric, network: Network, images: Images, params: PrecomputeParams, seed: int
) -> tuple[int, int]:
    """Write what `network` makes of the views of all images: plain.npy and view_00.npy ..., float32 `[N, F]`.

    Several ranks share out the images, and the first one writes. Returns `(N, F)`; N is 0 with `precompute.skip`.
    """
    rows = np.arange(0 if params.skip else len(images.pixels))
    width = predict(fabric, network, images.plain, np.arange(1), 1).shape[1]

    def inputs(batch, view):
        return images.augmented(batch, view, params, seed, "precompute") if view >= 0 else images.plain(batch)

    first, block_rows = fabric.is_global_zero, BLOCK * fabric.world_size
    batch_size = predict_batch(fabric.device, images.size)
    if first:
        shutil.rmtree(folder, ignore_errors=True)  # an earlier run may have had more views
    with progress(len(rows) * (1 + params.views), "precompute-features") as bar:
        for view in range(-1, params.views):
            name = f"view_{view:02}" if view >= 0 else "plain"
            writer = ArrayWriter(folder / f"{name}.npy", (width,), np.float32)
            with writer if first else nullcontext(), ThreadPoolExecutor(1) as beside:
                writing = None
                for start in range(0, len(rows), block_rows):
                    block = rows[start : start + block_rows]
                    features = predict(fabric, network, inputs, block, batch_size, view, bar.update)
                    if writing:
                        writing.result()
                    if first:  # while the next ones are computed
                        writing = beside.submit(writer.append, features.numpy())
                if writing:
                    writing.result()
    return len(rows), width
