"""Metrics and predictions, plain and with test-time augmentation: results/evaluate/."""

import numpy as np

from unfreeze import paths
from unfreeze.console import run
from unfreeze.data.store import open_array
from unfreeze.data.table import read_split
from unfreeze.evaluate.tta import TtaParams, predict_views
from unfreeze.params import Seed, load
from unfreeze.runtime import RuntimeParams, start
from unfreeze.train.augment import AugmentParams, Images

BATCH = 32


def main() -> str:
    params = load("tta-evaluate", seed=Seed, augment=AugmentParams, tta=TtaParams, runtime=RuntimeParams)
    fabric = start(params.runtime)
    import torch

    from unfreeze.evaluate.results import write_results
    from unfreeze.model.network import load_head, load_network
    from unfreeze.train.head import predict_head, read_features

    pixels, numbers = open_array(paths.PIXELS), open_array(paths.NUMBERS)
    table = read_split(paths.SPLIT_CSV, len(pixels))
    rows = np.concatenate([table.rows["valid"], table.rows["test"]])
    views = (params.tta.views, params.augment, params.seed, BATCH)
    predictions = []
    for path in [*sorted(paths.SNAPSHOTS.glob("*.safetensors")), paths.MODEL]:
        network, card = load_network(path)
        network.to(fabric.device, memory_format=torch.channels_last)
        images = Images(pixels, card.size, fabric.device, numbers=numbers)
        predictions.append(predict_views(fabric, network, images, rows, *views))
    plain, tta = predictions[-1][0], np.mean([mean for _, mean in predictions], axis=0)

    methods = {"plain": plain, "tta": tta}
    features = read_features(paths.FEATURES, paths.NUMBERS, fabric.device)
    if features.count:
        head = load_head(paths.HEAD)[0].to(fabric.device)
        methods = {"head": predict_head(fabric, head, features, rows).double().softmax(1).numpy(), **methods}

    metrics = write_results(paths.EVALUATE, table, rows, methods)
    part = "test" if "test" in metrics else "valid"
    accuracy = ", ".join(f"{name} {m['accuracy']:.4f}" for name, m in metrics[part].items())
    return f"{part} accuracy of {metrics[part]['tta']['count']:,} images: {accuracy}"


if __name__ == "__main__":
    run("tta-evaluate", main)
