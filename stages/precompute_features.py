"""Pooled activations of the frozen backbone for every image, plain view: data/features/."""

import numpy as np

from unfreeze import paths
from unfreeze.console import progress, run
from unfreeze.data.store import ArrayWriter, open_array
from unfreeze.model.backbone import ModelParams
from unfreeze.params import Seed, load
from unfreeze.runtime import RuntimeParams, start

BLOCK, BATCH = 256, 32


def main() -> str:
    params = load("precompute-features", seed=Seed, model=ModelParams, runtime=RuntimeParams)
    fabric = start(params.runtime, exact=True)
    from torch import channels_last, nn

    from unfreeze.model.backbone import build_backbone
    from unfreeze.model.network import Network
    from unfreeze.train.augment import Images
    from unfreeze.train.loop import predict

    pixels = open_array(paths.PIXELS)
    images = Images(pixels, params.model.size, fabric.device)
    backbone = build_backbone(params.model.arch, params.model.weights, params.seed, params.model.size)
    network = Network(backbone, nn.Identity()).to(fabric.device, memory_format=channels_last)

    rows = np.arange(len(pixels))
    width = predict(fabric, network, images.plain, rows[:1], 1).shape[1]
    with (
        ArrayWriter(paths.FEATURES, (width,), np.float32) as writer,
        progress(len(rows), "precompute-features") as bar,
    ):
        for start_row in range(0, len(rows), BLOCK):
            block = rows[start_row : start_row + BLOCK]
            writer.append(predict(fabric, network, images.plain, block, BATCH).numpy())
            bar.update(len(block))
    return f"{len(rows):,} images, {width} features each ({params.model.arch}, weights {params.model.weights})"


if __name__ == "__main__":
    run("precompute-features", main)
