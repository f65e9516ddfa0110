"""The frozen backbone's features of every image, computed once, so that the head trains in seconds."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path

import numpy as np
from lightning_fabric import Fabric
from torch import Tensor

from unfreeze.core.arrays import ArrayWriter
from unfreeze.core.console import progress
from unfreeze.core.files import replacing_folder, require_space
from unfreeze.device.prefetch import map_ahead
from unfreeze.device.runtime import choose_batch_size
from unfreeze.features.params import PrecomputeParams
from unfreeze.model.network import Network
from unfreeze.views.images import Images
from unfreeze.views.predict import Batch, Predictor

WRITTEN_AT_ONCE = 2048
"""Images whose features are written at once."""
PLAIN = -1
"""The number of the plain view; augmented ones count from 0."""


def write_features(
    folder: Path, fabric: Fabric, network: Network, images: Images, params: PrecomputeParams, seed: int
) -> tuple[int, int]:
    """Write what `network` makes of the views of all images: plain.npy and view_00.npy ..., float32 `[N, F]`.

    Several ranks share out the images, and the first one writes.

    Returns:
        `(N, F)`; N is 0 with `precompute.skip`.

    Raises:
        UserError: the features do not fit on the disk.
    """

    def read(rows: np.ndarray, view: int) -> Batch:
        if view == PLAIN:
            return images.plain(rows)
        return images.augmented(rows, view, params, seed, "precompute")

    predictor = Predictor(fabric, network, read, choose_batch_size(fabric.device, images.size))
    count = 0 if params.skip else len(images.pixels)
    width = predictor.predict(np.arange(1), PLAIN).shape[1]
    step = WRITTEN_AT_ONCE * fabric.world_size
    blocks = [np.arange(start, min(start + step, count)) for start in range(0, count, step)]
    if fabric.is_global_zero:
        require_space(folder, count * width * 4 * (1 + params.views), "the features")
    swap = replacing_folder(folder) if fabric.is_global_zero else nullcontext(folder)
    with swap as new, progress(count * (1 + params.views), "precompute-features") as bar:
        for view in range(PLAIN, params.views):
            name = "plain" if view == PLAIN else f"view_{view:02}"
            features = predictor.predict_blocks(blocks, view, bar.update)
            if fabric.is_global_zero:
                _write(ArrayWriter(new / f"{name}.npy", (width,), np.float32), features)
            else:
                for _ in features:
                    pass
    return count, width


def _write(writer: ArrayWriter, features: Iterator[Tensor]) -> None:
    """Append each block to the array while the next one is computed."""

    def write(block: Tensor) -> None:
        writer.append(block.numpy())
        writer.sync()

    with writer, ThreadPoolExecutor(1) as beside:
        for _ in map_ahead(beside, write, features, 2):
            pass
