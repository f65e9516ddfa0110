"""Pooled activations of the frozen backbone for every image, plain and augmented views: data/features/."""

from unfreeze import paths
from unfreeze.console import run
from unfreeze.data.store import open_array
from unfreeze.files import read_json
from unfreeze.model.backbone import ModelParams
from unfreeze.params import Seed, load
from unfreeze.runtime import RuntimeParams, computes_half, start
from unfreeze.train.augment import Images, PrecomputeParams


def main() -> str:
    params = load(
        "precompute-features", seed=Seed, model=ModelParams, precompute=PrecomputeParams, runtime=RuntimeParams
    )
    fabric = start(params.runtime, devices="any")
    from torch import nn

    from unfreeze.model.backbone import build_backbone, normalise
    from unfreeze.model.inference import for_inference
    from unfreeze.model.network import Network
    from unfreeze.train.precompute import write_features

    model, views = params.model, params.precompute.views
    images = Images(open_array(paths.PIXELS), model.size, fabric.device)
    channels = images.pixels.shape[3]
    backbone = build_backbone(model.arch, model.weights, params.seed, model.size, model.stem, channels)
    normalise(backbone, read_json(paths.NORMALISATION))
    network = for_inference(Network(backbone, nn.Identity()).to(fabric.device), computes_half(fabric))
    count, width = write_features(paths.FEATURES, fabric, network, images, params.precompute, params.seed)
    if params.precompute.skip:
        return "skipped (precompute.skip): the head starts untrained"
    each = f"{1 + views} views of {width} features each" if views else f"{width} features each"
    return f"{count:,} images, {each} ({model.arch}, weights {model.weights})"


if __name__ == "__main__":
    run("precompute-features", main)
