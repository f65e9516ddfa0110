"""Pooled activations of the frozen backbone for every image, plain and augmented views: data/features/."""

import shutil

import numpy as np

from unfreeze import paths
from unfreeze.console import progress, run
from unfreeze.data.store import ArrayWriter, open_array
from unfreeze.files import read_json
from unfreeze.model.backbone import ModelParams
from unfreeze.params import Seed, load
from unfreeze.runtime import RuntimeParams, start
from unfreeze.train.augment import PrecomputeParams

BLOCK, BATCH = 256, 32


def main() -> str:
    params = load(
        "precompute-features", seed=Seed, model=ModelParams, precompute=PrecomputeParams, runtime=RuntimeParams
    )
    fabric = start(params.runtime, exact=True)
    from torch import channels_last, nn

    from unfreeze.model.backbone import build_backbone, normalise
    from unfreeze.model.network import Network
    from unfreeze.train.augment import Images
    from unfreeze.train.loop import predict

    model, views = params.model, params.precompute.views
    pixels = open_array(paths.PIXELS)
    images = Images(pixels, model.size, fabric.device)
    backbone = build_backbone(model.arch, model.weights, params.seed, model.size, model.stem, pixels.shape[3])
    normalise(backbone, read_json(paths.NORMALISATION))
    network = Network(backbone, nn.Identity()).to(fabric.device, memory_format=channels_last)

    rows = np.arange(0 if params.precompute.skip else len(pixels))
    width = predict(fabric, network, images.plain, np.arange(1), 1).shape[1]

    def augmented(batch, view):
        return images.augmented(batch, view, params.precompute, params.seed, "precompute")

    shutil.rmtree(paths.FEATURES, ignore_errors=True)  # an earlier run may have had more views
    with progress(len(rows) * (1 + views), "precompute-features") as bar:
        for view in range(-1, views):
            name, inputs = (f"view_{view:02}", augmented) if view >= 0 else ("plain", images.plain)
            with ArrayWriter(paths.FEATURES / f"{name}.npy", (width,), np.float32) as writer:
                for start_row in range(0, len(rows), BLOCK):
                    block = rows[start_row : start_row + BLOCK]
                    writer.append(predict(fabric, network, inputs, block, BATCH, view).numpy())
                    bar.update(len(block))
    if params.precompute.skip:
        return "skipped (precompute.skip): the head starts untrained"
    each = f"{1 + views} views of {width} features each" if views else f"{width} features each"
    return f"{len(rows):,} images, {each} ({model.arch}, weights {model.weights})"


if __name__ == "__main__":
    run("precompute-features", main)
