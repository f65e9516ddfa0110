import numpy as np
import pytest
import torch
from torch import nn

from unfreeze.evaluate.tta import Views, predict_views
from unfreeze.task.kinds import TASKS
from unfreeze.task.multi import Multi
from unfreeze.task.single import Single
from unfreeze.views.augment import AugmentParams
from unfreeze.views.images import Images

CLASSES = ["a", "b", "c"]


class Brightness(nn.Module):
    """Logits that depend on where the light is, so that every view differs."""

    def forward(self, images):
        return (
            torch.stack([images[:, 0].mean((1, 2)), images[:, 0, :4].mean((1, 2)), images[:, 1, :, 3].mean(1)], 1)
            * 5
        )


@pytest.fixture
def images():
    pixels = np.random.default_rng(0).integers(0, 256, (6, 20, 20, 3), dtype=np.uint8)
    return Images(pixels, 16, torch.device("cpu"))


ACTIVATIONS = {Single: lambda logits: logits.softmax(1), Multi: lambda logits: logits.sigmoid()}


@pytest.mark.parametrize("kind", TASKS.values())
def test_tta_is_the_mean_of_the_probabilities_of_all_views(fabric, images, kind):
    views = Views(images=images, count=3, augment=AugmentParams(set="side_on", max_zoom=1.1, pad=0), seed=7)
    rows, model, task = np.array([4, 1, 5]), Brightness(), kind(CLASSES)
    plain, tta = predict_views(fabric, model, views, rows, 2, task)
    batches = [
        images.plain(rows),
        *(images.augmented(rows, view, views.augment, 7, "tta") for view in range(3)),
    ]
    each = np.stack([ACTIVATIONS[kind](model(batch).double()).numpy() for batch in batches])
    assert np.allclose(plain, each[0])
    assert np.allclose(tta, each.mean(0))
    assert np.allclose(tta.sum(1), 1) == (kind is Single)
    assert not np.allclose(each[0], each[1], atol=1e-4)
    again = predict_views(fabric, model, views, rows, 2, task)[1]
    assert np.array_equal(again, tta)


def test_without_views_or_augmentation_tta_is_the_plain_prediction(fabric, images):
    for count, name in ((0, "side_on"), (4, "none")):
        views = Views(images=images, count=count, augment=AugmentParams(set=name, max_zoom=1.0, pad=0), seed=1)
        plain, tta = predict_views(fabric, Brightness(), views, np.arange(6), 4, Single(CLASSES))
        assert np.allclose(plain, tta, atol=1e-12)
