"""Metrics, predictions and a submission, plain and with test-time augmentation: results/evaluate/."""

import numpy as np

from unfreeze.core import paths
from unfreeze.core.arrays import open_array
from unfreeze.core.console import run
from unfreeze.core.params import Seed, load
from unfreeze.device.runtime import RuntimeParams, choose_batch_size, computes_half, start
from unfreeze.evaluate.results import FINAL, evaluate, write_results
from unfreeze.evaluate.submission import SubmissionParams, plan_submission, write_submission
from unfreeze.evaluate.tta import TtaParams, Views, predict_views
from unfreeze.task.split_table import read_split
from unfreeze.views.augment import AugmentParams
from unfreeze.views.images import Images, keep_on_gpu


def main() -> str:
    # 1. Params and devices.
    params = load(
        "tta-evaluate", seed=Seed, augment=AugmentParams, tta=TtaParams, submission=SubmissionParams,
        runtime=RuntimeParams,
    )  # fmt: skip
    fabric = start(params.runtime, devices="any")
    from torch import channels_last

    from unfreeze.evaluate.gradcam import write_gradcam
    from unfreeze.features.read import predict_head, read_features
    from unfreeze.model.fast.inference import for_inference
    from unfreeze.model.network import load_head, load_network
    from unfreeze.views.predict import predict_probabilities

    # 2. The images to predict, and what is to be submitted of them.
    pixels, numbers = open_array(paths.PIXELS), open_array(paths.NUMBERS)
    table = read_split(paths.SPLIT_CSV, len(pixels))
    rows = np.concatenate([table.rows["valid"], table.rows["test"]])
    plan = plan_submission(params.submission, table, paths.TABLES)

    # 3. The network at the ends of its last cycles: the mean of what they predict with TTA, the last one's plain.
    kept, total = keep_on_gpu(fabric.device, pixels), 0
    models = [*sorted(paths.SNAPSHOTS.glob("*.safetensors")), paths.MODEL]
    for path in models:
        network, card = load_network(path)
        network.to(fabric.device, memory_format=channels_last)
        images = Images(kept, card.size, fabric.device, numbers=numbers)
        plain, tta = predict_views(
            fabric=fabric,
            network=for_inference(network, computes_half(fabric)),
            views=Views(images=images, count=params.tta.views, augment=params.augment, seed=params.seed),
            rows=rows,
            batch_size=choose_batch_size(fabric.device, card.size),
            task=table.task,
        )
        total = np.add(total, tta, out=tta)
    total /= len(models)
    methods = {"plain": plain, FINAL: total}

    # 4. The head alone on the cached features, where there are any.
    features = read_features(folder=paths.FEATURES, numbers=paths.NUMBERS, device=fabric.device)
    if features.count:
        head = load_head(paths.HEAD).head.to(fabric.device)
        by_head = predict_probabilities(
            lambda some: predict_head(fabric, head, features, some),
            rows=rows,
            classes=len(table.classes),
            activate=table.task.activate,
        )
        methods = {"head": by_head, **methods}

    # 5. Metrics, predictions, Grad-CAM, submission. The first rank writes for all.
    if not fabric.is_global_zero:
        return ""
    evaluation = evaluate(table=table, rows=rows, methods=methods, rule=params.tta.thresholds)
    scores = write_results(paths.EVALUATE, evaluation)
    write_gradcam(paths.EVALUATE, evaluation, network, images)
    submitted = write_submission(paths.EVALUATE / "submission.csv", plan, evaluation)
    part, headline = "test" if "test" in scores else "valid", table.task.headline
    values = ", ".join(f"{name} {each[headline]:.4f}" for name, each in scores[part].items())
    summary = f"{part} {headline} of {scores[part][FINAL]['count']:,} images: {values}"
    return f"{summary}; {submitted}" if submitted else summary


if __name__ == "__main__":
    run("tta-evaluate", main)
