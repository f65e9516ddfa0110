"""Metrics, predictions and a submission, plain and with test-time augmentation: results/evaluate/."""

import numpy as np

from unfreeze import paths
from unfreeze.console import run
from unfreeze.data.store import open_array
from unfreeze.data.table import read_split
from unfreeze.evaluate.submission import SubmissionParams, plan_submission, write_submission
from unfreeze.evaluate.tta import TtaParams, predict_views, stored
from unfreeze.files import read_table
from unfreeze.params import Seed, load
from unfreeze.runtime import RuntimeParams, computes_half, predict_batch, start
from unfreeze.train.augment import AugmentParams, Images, kept_on


def main() -> str:
    params = load(
        "tta-evaluate", seed=Seed, augment=AugmentParams, tta=TtaParams, submission=SubmissionParams,
        runtime=RuntimeParams,
    )  # fmt: skip
    fabric = start(params.runtime, devices="any")
    import torch

    from unfreeze.evaluate.gradcam import write_looked_at
    from unfreeze.evaluate.results import write_results
    from unfreeze.model.inference import for_inference
    from unfreeze.model.network import load_head, load_network
    from unfreeze.train.head import predict_head, read_features

    pixels, numbers = open_array(paths.PIXELS), open_array(paths.NUMBERS)
    table = read_split(paths.SPLIT_CSV, len(pixels))
    rows = np.concatenate([table.rows["valid"], table.rows["test"]])
    plan = plan_submission(params.submission, table, paths.EXTRACTED_CSV, paths.EXTRACTED_TAR)
    views = (params.tta.views, params.augment, params.seed)
    half, kept, tta = computes_half(fabric), kept_on(fabric.device, pixels), 0
    models = [*sorted(paths.SNAPSHOTS.glob("*.safetensors")), paths.MODEL]
    for path in models:
        network, card = load_network(path)
        network.to(fabric.device, memory_format=torch.channels_last)
        images = Images(kept, card.size, fabric.device, numbers=numbers)
        batch = predict_batch(fabric.device, card.size)
        plain, seen = predict_views(fabric, for_inference(network, half), images, rows, *views, batch, table.multi)
        tta = np.add(tta, seen, out=seen)
    tta /= len(models)

    methods = {"plain": plain, "tta": tta}
    features = read_features(paths.FEATURES, paths.NUMBERS, fabric.device)
    if features.count:
        head = load_head(paths.HEAD)[0].to(fabric.device)
        methods = {"head": stored(lambda r: predict_head(fabric, head, features, r), rows, table.multi), **methods}
    if not fabric.is_global_zero:  # the first rank writes for all
        return ""
    metrics = write_results(paths.EVALUATE, table, rows, methods, params.tta.thresholds)
    write_looked_at(paths.EVALUATE, table, network, images, rows, tta)
    predicted = read_table(paths.EVALUATE / "predictions.csv", ["predicted"]).columns["predicted"]
    submitted = write_submission(paths.EVALUATE / "submission.csv", plan, rows, tta, predicted)
    part = "test" if "test" in metrics else "valid"
    numbers = ", ".join(f"{name} {m[table.headline]:.4f}" for name, m in metrics[part].items())
    return f"{part} {table.headline} of {metrics[part]['tta']['count']:,} images: {numbers}; {submitted}"


if __name__ == "__main__":
    run("tta-evaluate", main)
