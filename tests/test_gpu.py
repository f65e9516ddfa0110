"""What a GPU computes, beside what a CPU does. Skipped where there is none."""

import json

import numpy as np
import pytest
import torch
from chain import ROOT, run_stages

from unfreeze.core import draws
from unfreeze.core.arrays import open_array, write_array
from unfreeze.device.runtime import RuntimeParams, computes_half, start
from unfreeze.features.params import PrecomputeParams
from unfreeze.features.write import write_features
from unfreeze.model.backbone import build_backbone
from unfreeze.model.fast.fused_conv import CudnnFusedConv
from unfreeze.model.fast.inference import for_inference
from unfreeze.model.head import HeadParams, build_head
from unfreeze.model.network import Network
from unfreeze.task.single import Single
from unfreeze.train.fit import Plan, fit
from unfreeze.train.learner import Learner, build_optimizer
from unfreeze.train.schedule import Pace, StepParams
from unfreeze.views.augment import AugmentParams
from unfreeze.views.images import Images, keep_on_gpu, send
from unfreeze.views.predict import Predictor

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no GPU here")


def settled(device, precision="32"):
    return start(RuntimeParams(device=device, precision=precision, strict=False, threads="auto"))


def pictures(count: int, size: int = 72) -> np.ndarray:
    """Smooth pictures, as photographs are."""
    coarse = torch.from_numpy(draws.uniform(np.arange(count), 3 * 9 * 9, 1, "gpu").reshape(count, 3, 9, 9))
    fine = torch.nn.functional.interpolate(coarse, size=(size, size), mode="bilinear")
    return (fine * 255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()


def features(folder, device, precision, pixels):
    fabric = settled(device, precision)
    network = Network(build_backbone("resnet18", "none", 1, 64), torch.nn.Identity()).to(fabric.device)
    network = for_inference(network, computes_half(fabric))
    params = PrecomputeParams(set="side_on", max_zoom=1.1, pad=0, skip=False, views=1)
    write_features(folder, fabric, network, Images(pixels, 64, fabric.device), params, 1)
    return [np.array(open_array(folder / f"{name}.npy")) for name in ("plain", "view_00")]


def error(actual: np.ndarray, expected: np.ndarray) -> float:
    return float(np.linalg.norm(actual - expected) / np.linalg.norm(expected))


@pytest.mark.parametrize(("precision", "bound"), [("32", 1e-4), ("bf16", 0.03)])
def test_features_are_those_of_a_cpu_within_rounding(tmp_path, precision, bound):
    pixels = pictures(300)
    expected = features(tmp_path / "cpu", "cpu", "32", pixels)
    actual = features(tmp_path / "gpu", "cuda", precision, pixels)
    assert all(error(*pair) < bound for pair in zip(actual, expected, strict=True))


@pytest.mark.parametrize(
    ("arch", "joined"),
    [("resnet18", 17), ("resnet50", 49), ("resnext50_32x4d", 33), ("vgg11_bn", 8), ("densenet121", None),
     ("googlenet", 57), ("mobilenet_v2", 0), ("convnext_tiny", 0)],
)  # fmt: skip
def test_cudnn_computes_along_what_follows_a_convolution(arch, joined):
    network = Network(build_backbone(arch, "none", 1, 64), torch.nn.Identity()).eval()
    images = torch.from_numpy(pictures(8, 64)).permute(0, 3, 1, 2) / 255
    with torch.no_grad():
        expected = network(images).numpy()
        settled("cuda", "bf16")
        folded = for_inference(network.to("cuda"), half=True)
        actual = folded(images.to("cuda")).float().cpu().numpy()
    assert error(actual, expected) < 0.03
    count = sum(isinstance(module, CudnnFusedConv) for module in folded.modules())
    assert count == joined or (joined is None and count > 0)


def test_rows_are_sent_and_kept_as_they_are(tmp_path):
    pixels, device = pictures(600), torch.device("cuda", 0)
    write_array(tmp_path / "pixels.npy", pixels)
    stored, rows = open_array(tmp_path / "pixels.npy"), np.array([5, 599, 5, 0])
    assert torch.equal(send(stored, rows, device).cpu(), torch.from_numpy(pixels[rows]))
    kept = keep_on_gpu(device, stored)
    assert kept.device == device and torch.equal(kept.cpu(), torch.from_numpy(pixels))
    params, views = AugmentParams(set="side_on", max_zoom=1.1, pad=0), []
    for each in (stored, kept):
        images = Images(each, 64, device)
        views.append([images.plain(rows), images.augmented(rows, 3, params, 1)])
    assert all(torch.equal(*pair) for pair in zip(*views, strict=True))


@pytest.mark.parametrize("kept", [True, False])
def test_batches_that_are_prefetched_are_predicted_as_they_are(tmp_path, kept):
    fabric = settled("cuda", "bf16")
    write_array(tmp_path / "pixels.npy", pictures(700))
    pixels = open_array(tmp_path / "pixels.npy")
    images = Images(keep_on_gpu(fabric.device, pixels) if kept else pixels, 64, fabric.device)
    network = Network(build_backbone("resnet18", "none", 1, 64), torch.nn.Identity()).to(fabric.device)
    network, params = for_inference(network, half=True), AugmentParams(set="side_on", max_zoom=1.1, pad=0)
    rows = np.random.default_rng(1).permutation(700)

    def inputs(batch, view):
        return images.augmented(batch, view, params, 1)

    for _ in range(3):
        predictor = Predictor(fabric, network, inputs, batch_size=16)
        blocks = list(predictor.predict_blocks(np.split(rows, [300])))
        logits = torch.cat(blocks)
        for first in range(0, 300, 16):
            with torch.no_grad(), fabric.autocast():
                expected = network(inputs(rows[:300][first : first + 16], 0)).float().cpu()
            assert torch.equal(logits[first : min(first + 16, 300)], expected)
        assert [len(block) for block in blocks] == [300, 400] and blocks[0].is_pinned()


def test_views_are_those_of_a_cpu():
    pixels, rows = pictures(40), np.arange(40)
    params = AugmentParams(set="top_down", max_zoom=1.2, pad=4)
    cpu, gpu = (
        Images(pixels, 64, torch.device(device)).augmented(rows, 2, params, 1) for device in ("cpu", "cuda")
    )
    assert (cpu - gpu.cpu()).abs().max() < 1e-3


def test_steps_of_training_are_those_of_a_cpu_within_rounding():
    """Dropout is drawn by the device, so there is none here."""
    pixels, losses = pictures(64), []
    step = StepParams(
        batch_size=16, optimizer="sgd", momentum=0.9, weight_decay=1e-3, label_smoothing=0.1, clip_norm=1.0,
        balance="none",
    )  # fmt: skip
    params = AugmentParams(set="side_on", max_zoom=1.1, pad=0)
    for device in ("cpu", "cuda"):
        fabric = settled(device)
        backbone = build_backbone("resnet18", "none", 1, 64)
        network = Network(backbone, build_head(1024, 4, HeadParams(hidden=[16], dropout=[0, 0]), 1))
        network.to(fabric.device, memory_format=torch.channels_last)
        images, targets = Images(pixels, 64, fabric.device), (torch.arange(64) % 4).to(fabric.device)

        def inputs(rows, view, images=images):
            return images.augmented(rows, view, params, 1, "gpu")

        learner = Learner(
            fabric=fabric,
            model=network,
            optimizer=build_optimizer(network.groups, [0.1, 0.3, 1], step),
            inputs=inputs,
            targets=targets,
            task=Single(list("abcd")),
            params=step,
            key=(1, "gpu"),
            mixup=0.2,
        )
        plan = Plan(rows=np.arange(64), lr=1e-3, paces=[Pace(1, 0.9)] * 4)
        losses.append([each.loss for steps in fit(learner, plan) for each in steps])
    assert np.allclose(*losses, rtol=1e-3)


def test_the_whole_pipeline_runs_on_a_gpu(tmp_path):
    runtime = {"device": "cuda", "precision": "auto", "strict": False, "threads": "auto", "devices": "auto"}
    said = run_stages(
        tmp_path,
        {
            "extract": {"source": str(ROOT / "data/raw/digits.7z")},
            "split": {"folds": 3},
            "precompute": {"views": 2, "set": "basic"},
            "runtime": runtime,
        },
    )
    assert "test accuracy" in said["tta-evaluate"]
    facts = json.loads((tmp_path / "results/environment.json").read_text())
    assert facts["gpu"] and facts["precision"] == "bf16-mixed"
    metrics = json.loads((tmp_path / "results/evaluate/details.json").read_text())
    assert metrics["test"]["tta"]["accuracy"] > 0.9
    assert (tmp_path / "results/report/index.html").stat().st_size > 10_000
