from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from unfreeze.core import tables
from unfreeze.evaluate.gradcam import choose_images, compute_heat, write_gradcam
from unfreeze.evaluate.results import Evaluation
from unfreeze.model.backbone import build_backbone
from unfreeze.model.head import HeadParams, build_head
from unfreeze.model.network import Network
from unfreeze.task.base import Task
from unfreeze.task.metrics import uncertainty
from unfreeze.task.multi import Multi
from unfreeze.task.single import Single
from unfreeze.task.split_table import SplitTable
from unfreeze.views.images import Images


def make_table(targets: np.ndarray, kind: type[Task] = Single) -> SplitTable:
    """A table of validation images alone."""
    rows = np.arange(len(targets))
    return SplitTable(
        task=kind(["a", "b", "c"]),
        rows={"train": rows[:0], "valid": rows, "test": rows[:0]},
        targets=targets,
        folds=np.full(len(rows), -1),
        paths=[f"{row}.png" for row in rows],
    )


def test_the_most_wrong_come_first_with_what_they_are_then_the_uncertain_with_the_runner_up():
    p = np.array([[0.5, 0.4, 0.1], [0.6, 0.3, 0.1], [0.9, 0.05, 0.05], [0.98, 0.01, 0.01], [0.1, 0.2, 0.7]])
    targets = np.array([0, 1, 1, 0, -1])
    rows, classes = choose_images(make_table(targets), np.arange(5), p, uncertainty(p))
    assert rows.tolist() == [2, 1, 0]  # 3 is sure and right, 4 has no label
    assert classes.tolist() == [[0, 1], [0, 1], [0, 1]]


def test_of_several_labels_it_is_the_two_that_are_most_wrong():
    p = np.array([[0.9, 0.2, 0.4], [0.1, 0.9, 0.2]])
    table = make_table(np.array([[0, 0, 1], [0, 1, 0]], np.float32), Multi)
    rows, classes = choose_images(table, np.arange(2), p, p[:, 0])
    assert (rows.tolist() == [0, 1] and classes.tolist() == [[0, 2], [2, 0]]) or classes[1].tolist() == [2, 1]


class Bright(nn.Module):
    """A backbone whose only map is the brightness of blocks of 4 x 4 pixels."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return nn.functional.avg_pool2d(images.mean(1, keepdim=True), 4)


def test_the_places_that_speak_for_a_class_light_up():
    head = nn.Sequential(nn.Linear(2, 2, bias=False))
    head[0].weight.data = torch.tensor([[1.0, 1.0], [-1.0, -1.0]])
    network = Network(build_backbone("resnet18", "none", 0, 32), head).eval()
    network.early, network.late = Bright(), nn.Identity()
    network.mean, network.std = torch.zeros(3, 1, 1), torch.ones(3, 1, 1)
    pixels = np.zeros((2, 16, 16, 3), np.uint8)
    pixels[1, :8, 8:] = 255
    heat = compute_heat(network, Images(pixels, 16, torch.device("cpu")), np.array([1]), np.array([[0, 1]]))
    assert heat.shape == (1, 2, 4, 4) and heat.dtype == np.uint8
    assert (heat[0, 0] == 255).tolist() == [[False, False, True, True]] * 2 + [[False] * 4] * 2
    assert heat[0, 1].max() == 0  # nothing speaks for the other


@pytest.mark.parametrize(
    ("arch", "size", "side"),
    [("resnet18", 96, 3), ("resnet18", 32, 4), ("vit_b_32", 96, 3), ("swin_t", 96, 3), ("squeezenet1_1", 64, 3)],
)
def test_every_kind_of_backbone_says_where(arch, size, side, tmp_path):
    """ViTs by their tokens; where the last maps have a place or four, those below them."""
    backbone = build_backbone(arch, "none", 1, size)
    with torch.no_grad():
        width = Network(backbone, nn.Identity()).eval()(torch.zeros(1, 3, size, size)).shape[1]
    network = Network(backbone, build_head(width, 3, HeadParams(hidden=[], dropout=[0.0]), seed=1)).eval()
    pixels = np.random.default_rng(0).integers(0, 256, (4, size, size, 3), dtype=np.uint8)
    images = Images(pixels, size, torch.device("cpu"))
    p = np.full((4, 3), [0.5, 0.3, 0.2])
    table = make_table(np.array([0, 1, 2, 0]))
    evaluation = Evaluation(table=table, rows=np.arange(4), methods={"tta": p}, thresholds={"tta": None})
    for _ in range(2):
        write_gradcam(tmp_path, evaluation, network, images)
        heat = np.load(tmp_path / "gradcam.npy")
        assert heat.shape == (4, 2, side, side) and heat.max() == 255
    assert tables.read(tmp_path / "gradcam.csv", {"row": "int"})["row"].tolist() == [2, 1, 0, 3]


def test_numbers_beside_the_images_join_the_head():
    backbone = build_backbone("resnet18", "none", 1, 96)
    network = Network(backbone, build_head(1024 + 2, 3, HeadParams(hidden=[], dropout=[0.0]), seed=1)).eval()
    pixels, numbers = np.zeros((1, 96, 96, 3), np.uint8), np.ones((1, 2), np.float32)
    images = Images(pixels, 96, torch.device("cpu"), numbers=numbers)
    assert compute_heat(network, images, np.array([0]), np.array([[0, 1]])).shape == (1, 2, 3, 3)


def test_without_images_worth_a_look_there_is_an_empty_array():
    assert compute_heat(None, None, np.zeros(0, np.int64), np.zeros((0, 2), np.int64)).shape == (0, 2, 1, 1)


def test_images_are_of_the_test_split_where_that_has_labels():
    table = make_table(np.array([1, 1, -1]))
    parts = {"train": np.arange(0), "valid": np.array([0]), "test": np.array([1, 2])}
    p = np.tile([0.8, 0.1, 0.1], (3, 1))
    rows, _ = choose_images(replace(table, rows=parts), np.arange(3), p, uncertainty(p))
    assert rows.tolist() == [1]
