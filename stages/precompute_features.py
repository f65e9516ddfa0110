"""Pooled activations of the frozen backbone for every image, plain and augmented views: data/features/."""

from unfreeze.core import paths
from unfreeze.core.arrays import open_array
from unfreeze.core.console import run
from unfreeze.core.files import read_json
from unfreeze.core.params import Seed, load
from unfreeze.device.runtime import RuntimeParams, computes_half, start
from unfreeze.features.params import PrecomputeParams
from unfreeze.model.backbone import ModelParams, build_backbone
from unfreeze.model.backbones.base import normalise
from unfreeze.views.images import Images


def main() -> str:
    # 1. Params and device. Torch is imported after `start`, which settles how it computes.
    params = load(
        "precompute-features", seed=Seed, model=ModelParams, precompute=PrecomputeParams, runtime=RuntimeParams
    )
    fabric = start(params.runtime, devices="any")
    from torch import nn

    from unfreeze.features.write import write_features
    from unfreeze.model.fast.inference import for_inference
    from unfreeze.model.network import Network

    # 2. The stored images.
    images = Images(open_array(paths.PIXELS), size=params.model.image_size, device=fabric.device)

    # 3. The frozen backbone, without a head.
    backbone = build_backbone(
        arch=params.model.arch,
        weights=params.model.weights,
        seed=params.seed,
        size=params.model.image_size,
        stem=params.model.stem,
        channels=images.pixels.shape[3],
    )
    normalise(backbone, read_json(paths.NORMALISATION))
    network = for_inference(Network(backbone, head=nn.Identity()).to(fabric.device), half=computes_half(fabric))

    # 4. The features of all views.
    count, width = write_features(
        folder=paths.FEATURES,
        fabric=fabric,
        network=network,
        images=images,
        params=params.precompute,
        seed=params.seed,
    )

    # 5. The line that the stage ends with.
    if params.precompute.skip:
        return "skipped (precompute.skip): the head starts untrained"
    views = params.precompute.views
    each = f"{1 + views} views of {width} features each" if views else f"{width} features each"
    return f"{count:,} images, {each} ({params.model.arch}, weights {params.model.weights})"


if __name__ == "__main__":
    run("precompute-features", main)
