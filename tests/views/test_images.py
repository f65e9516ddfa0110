import numpy as np
import torch

from unfreeze.core import draws
from unfreeze.views import images
from unfreeze.views.augment import AugmentParams
from unfreeze.views.images import Images

CPU = torch.device("cpu")


def noise(count):
    return draws.generator(0).integers(0, 256, (count, 40, 40, 3), dtype=np.uint8)


def test_a_row_s_view_depends_on_seed_purpose_epoch_and_row_alone():
    stored = Images(noise(8), 32, CPU)
    params = AugmentParams(set="side_on", max_zoom=1.1, pad=0)
    every = stored.augmented(np.arange(8), 3, params, 1, "frozen")
    assert torch.equal(stored.augmented(np.array([5, 2]), 3, params, 1, "frozen"), every[[5, 2]])
    for other in (
        stored.augmented(np.arange(8), 4, params, 1, "frozen"),
        stored.augmented(np.arange(8), 3, params, 2, "frozen"),
        stored.augmented(np.arange(8), 3, params, 1, "tta"),
    ):
        assert not torch.equal(other, every)


def test_none_is_the_plain_view():
    stored = Images(noise(8), 32, CPU)
    params = AugmentParams(set="none", max_zoom=1.0, pad=0)
    assert torch.equal(stored.augmented(np.arange(8), 0, params, 1), stored.plain(np.arange(8)))


def test_smaller_sizes_show_the_same_views():
    y, x = np.mgrid[:72, :72] / 71
    smooth = (np.stack([x, y, (x + y) / 2], 2) * 255).round().astype(np.uint8)[None].repeat(4, 0)
    stored, params = Images(smooth, 64, CPU), AugmentParams(set="side_on", max_zoom=1.1, pad=8)
    small = stored.resize(32)
    assert small.stored_size == 36 and small.plain(np.arange(4)).shape == (4, 3, 32, 32)
    for large_view, small_view in (
        (stored.plain(np.arange(4)), small.plain(np.arange(4))),
        (stored.augmented(np.arange(4), 0, params, 1), small.augmented(np.arange(4), 0, params, 1)),
    ):
        halved = torch.nn.functional.avg_pool2d(large_view, 2)
        assert (halved - small_view).abs().max() < 0.05  # crops start at whole pixels of either size
    assert torch.equal(stored.resize(64).plain(np.arange(4)), stored.plain(np.arange(4)))


def test_measured_values_shrink_without_being_rounded():
    decibels = np.random.default_rng(0).normal(-20, 4, (4, 40, 40, 3)).astype(np.float32)
    smaller = Images(decibels, 32, CPU).resize(16)
    view = smaller.plain(np.arange(4))
    assert view.shape == (4, 3, 16, 16)
    assert -23 < view.mean() < -17 and not torch.equal(view, view.round())


def test_numbers_come_with_the_views_and_none_without():
    pixels, numbers = noise(4), np.arange(8, dtype=np.float32).reshape(4, 2)
    params, rows = AugmentParams(set="side_on", max_zoom=1.1, pad=0), np.array([3, 1])
    alone, beside = Images(pixels, 32, CPU), Images(pixels, 32, CPU, numbers=numbers)
    for with_numbers in (beside, beside.resize(32)):
        views, values = with_numbers.augmented(rows, 2, params, 1)
        assert torch.equal(views, alone.augmented(rows, 2, params, 1))
        assert values.tolist() == [[6, 7], [2, 3]]
        assert with_numbers.plain(rows)[1].tolist() == [[6, 7], [2, 3]]
    empty = Images(pixels, 32, CPU, numbers=numbers[:, :0])
    assert torch.equal(empty.plain(rows), alone.plain(rows))


def test_images_kept_on_the_device_give_the_same_views(monkeypatch):
    stored = noise(8)
    assert images.keep_on_gpu(CPU, stored) is stored
    monkeypatch.setattr(images, "fits_on_gpu", lambda device, size: size == stored.nbytes)
    monkeypatch.setattr(images, "SENT_AT_ONCE", 3)
    kept = images.keep_on_gpu(CPU, stored)
    assert isinstance(kept, torch.Tensor)
    both, rows = [Images(pixels, 32, CPU) for pixels in (stored, kept)], np.array([7, 0, 3])
    params = AugmentParams(set="side_on", max_zoom=1.1, pad=0)
    for size in (32, 16):
        first, second = (each.resize(size) for each in both)
        assert torch.equal(first.plain(rows), second.plain(rows))
        assert torch.equal(first.augmented(rows, 2, params, 1), second.augmented(rows, 2, params, 1))
