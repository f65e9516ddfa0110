"""The frozen backbone's features of every image, computed once, so that the head trains in seconds."""

import shutil
from pathlib import Path

import numpy as np
from lightning_fabric import Fabric

from unfreeze.console import progress
from unfreeze.data.store import ArrayWriter
from unfreeze.model.network import Network
from unfreeze.train.augment import Images, PrecomputeParams
from unfreeze.train.loop import predict

BLOCK, BATCH = 256, 32


def write_features(
    folder: Path, fabric: Fabric, network: Network, images: Images, params: PrecomputeParams, seed: int
) -> tuple[int, int]:
    """Write what `network` makes of the views of all images: plain.npy and view_00.npy ..., float32 `[N, F]`.

    Returns `(N, F)`; N is 0 with `precompute.skip`.
    """
    rows = np.arange(0 if params.skip else len(images.pixels))
    width = predict(fabric, network, images.plain, np.arange(1), 1).shape[1]

    def augmented(batch, view):
        return images.augmented(batch, view, params, seed, "precompute")

    shutil.rmtree(folder, ignore_errors=True)  # an earlier run may have had more views
    with progress(len(rows) * (1 + params.views), "precompute-features") as bar:
        for view in range(-1, params.views):
            name, inputs = (f"view_{view:02}", augmented) if view >= 0 else ("plain", images.plain)
            with ArrayWriter(folder / f"{name}.npy", (width,), np.float32) as writer:
                for start in range(0, len(rows), BLOCK):
                    block = rows[start : start + BLOCK]
                    writer.append(predict(fabric, network, inputs, block, BATCH, view).numpy())
                    bar.update(len(block))
    return len(rows), width
