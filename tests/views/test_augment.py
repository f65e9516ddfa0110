import numpy as np
import pytest
import torch

from unfreeze.core import draws
from unfreeze.views import augment
from unfreeze.views.augment import AugmentParams, apply, draw, plain
from unfreeze.views.images import Images

CPU = torch.device("cpu")


def images(count=8, size=40, seed=0):
    return draws.generator(seed).integers(0, 256, (count, size, size, 3), dtype=np.uint8)


def still(theta=None, light=None, count=1):
    """Transforms that change nothing."""
    return (
        torch.tensor([[1.0, 0, 0], [0, 1, 0]]).repeat(count, 1, 1) if theta is None else theta,
        torch.tensor([[0.0, 1.0]]).repeat(count, 1) if light is None else light,
    )


def test_the_plain_view_is_the_exact_centre():
    pixels = images(2, 36)
    view = plain(torch.from_numpy(pixels), 32)
    assert view.shape == (2, 3, 32, 32)
    assert np.array_equal((view * 255).round().byte().numpy(), pixels[:, 2:34, 2:34].transpose(0, 3, 1, 2))


def test_the_identity_changes_nothing():
    pixels = torch.from_numpy(images(1, 32))
    assert torch.allclose(apply(pixels, *still(), 32), plain(pixels, 32), atol=1e-5)


def test_crops_without_zoom_and_rotation_start_at_whole_pixels_everywhere():
    rows = np.arange(4000)
    theta, _ = draw(rows, AugmentParams(set="basic", max_zoom=1.0, pad=0), 36, 32, 0, 1)
    upright = theta[theta[:, 0, 1] == 0]
    starts = upright[:, :, 2] * 18 + 2  # the offset of the centre, in pixels, plus the margin
    assert 0.2 < len(upright) / 4000 < 0.3  # a quarter is not rotated
    assert np.allclose(starts, starts.round(), atol=1e-4)
    assert set(starts.round().astype(int).ravel()) == {0, 1, 2, 3, 4}

    pixels = images(1, 36)
    view = apply(torch.from_numpy(pixels), torch.from_numpy(upright[:1]), still()[1], 32)
    x, y = starts[0].round().astype(int)
    assert np.allclose((view * 255).numpy(), pixels[:, y : y + 32, x : x + 32].transpose(0, 3, 1, 2), atol=0.01)


def test_the_ranges_are_the_course_s():
    theta, light = draw(np.arange(20000), AugmentParams(set="basic", max_zoom=1.2, pad=0), 256, 224, 0, 1)
    scale = np.hypot(theta[:, 0, 0], theta[:, 0, 1]) / (224 / 256)
    angle = np.rad2deg(np.arctan2(theta[:, 1, 0], theta[:, 0, 0]))
    assert scale.min() == pytest.approx(1 / 1.2, rel=1e-3) and scale.max() == pytest.approx(1)
    assert np.isclose(scale, 1).mean() == pytest.approx(0.25, abs=0.02)
    assert angle.min() == pytest.approx(-10, abs=0.1) and angle.max() == pytest.approx(10, abs=0.1)
    assert light[:, 0].min() == pytest.approx(-0.05, abs=1e-3) and light[:, 0].max() == pytest.approx(
        0.05, abs=1e-3
    )
    assert light[:, 1].min() == pytest.approx(1 / 1.05, abs=1e-3) and light[:, 1].max() == pytest.approx(
        1.05, abs=1e-3
    )
    corners = np.abs(theta[:, :, :2]).sum(2) + np.abs(theta[:, :, 2])
    assert corners.max() < 1.2  # a rotated corner may leave the image by a little, and is reflected


@pytest.mark.parametrize(("name", "ways"), [("flip", 2), ("basic", 1), ("side_on", 2), ("top_down", 8)])
def test_symmetries_of_each_set(name, ways):
    theta, _ = draw(np.arange(4000), AugmentParams(set=name, max_zoom=1.0, pad=0), 32, 32, 0, 1)
    upright = theta[np.isclose(np.abs(theta[:, :, :2]).max((1, 2)), 1, atol=1e-6)][:, :, :2].round().astype(int)
    kinds, counts = np.unique(upright.reshape(-1, 4), axis=0, return_counts=True)
    assert len(kinds) == ways
    assert counts.min() > 0.7 * counts.mean()


def test_a_flip_mirrors_left_and_right():
    pixels = torch.from_numpy(images(1, 32))
    theta = torch.tensor([[[-1.0, 0, 0], [0, 1, 0]]])
    assert torch.allclose(apply(pixels, *still(theta), 32), plain(pixels, 32).flip(3), atol=1e-5)


def test_edges_are_reflected_with_the_edge_pixel_repeated():
    pixels = torch.from_numpy(images(1, 8))
    shifted = torch.tensor([[[1.0, 0, -2 * 2 / 8], [0, 1, 0]]])  # two pixels beyond the left edge
    view, centre = apply(pixels, *still(shifted), 8), plain(pixels, 8)
    assert torch.allclose(view[..., :4], centre[..., [1, 0, 0, 1]], atol=1e-5)


def test_lighting_is_around_the_image_s_mean_and_clipped():
    pixels = torch.full((1, 4, 4, 3), 100, dtype=torch.uint8)
    pixels[0, 0, 0] = 200
    x = pixels.permute(0, 3, 1, 2) / 255
    mean = x.mean()
    view = apply(pixels, *still(light=torch.tensor([[0.05, 1.05]])), 4)
    assert torch.allclose(view, (x - mean) * 1.05 + mean + 0.05, atol=1e-6)
    assert apply(pixels, *still(light=torch.tensor([[0.9, 1.0]])), 4).max() == 1


def test_flip_neither_rotates_nor_changes_the_light():
    theta, light = draw(np.arange(500), AugmentParams(set="flip", max_zoom=1.0, pad=0), 32, 32, 0, 1)
    assert not theta[:, 0, 1].any() and np.array_equal(light, np.tile(np.float32([0, 1]), (500, 1)))


def test_a_padded_crop_is_that_of_the_reflected_image():
    """The reference pads the image by its reflection, edge pixel repeated, and cuts whole pixels out."""
    pixels, rows = images(64, 32), np.arange(64)
    params = AugmentParams(set="flip", max_zoom=1.0, pad=4)
    views = Images(pixels, 32, CPU).augmented(rows, 0, params, 1)
    theta, _ = draw(rows, params, 32, 32, 4, 1, 0)
    starts = (theta[:, :, 2] * 16 + 4).round().astype(int)
    assert {*starts.ravel()} == set(range(9))
    padded = np.pad(pixels, ((0, 0), (4, 4), (4, 4), (0, 0)), mode="symmetric")
    for image, view, (x, y), flip in zip(padded, views, starts, theta[:, 0, 0], strict=True):
        crop = image[y : y + 32, x : x + 32]
        expected = (crop[:, ::-1] if flip < 0 else crop).transpose(2, 0, 1)
        assert np.allclose((view * 255).numpy(), expected, atol=0.02)


def decibels(count=4, size=40):
    return np.random.default_rng(0).normal(-20, 4, (count, size, size, 3)).astype(np.float32)


def test_measured_values_are_moved_and_never_lit_or_clamped():
    pixels = decibels()
    stored = Images(pixels, 32, CPU)
    assert torch.equal(stored.plain(np.arange(4)), torch.from_numpy(pixels[:, 4:36, 4:36]).permute(0, 3, 1, 2))
    view = apply(torch.from_numpy(pixels[:1]), *still(light=torch.tensor([[0.05, 1.05]])), 40)
    assert torch.allclose(view, torch.from_numpy(pixels[:1]).permute(0, 3, 1, 2), atol=1e-4)
    views = stored.augmented(np.arange(4), 0, AugmentParams(set="flip", max_zoom=1, pad=0), 1)
    for image, view in zip(pixels, views, strict=True):  # whole pixels: every value is one of the image's
        assert np.isin(view.numpy().round(2), image.round(2)).mean() > 0.99


def test_the_grid_is_torch_s():
    theta, _ = draw(np.arange(5), AugmentParams(set="top_down", max_zoom=1.2, pad=0), 20, 16, 0, 1, "x", 0)
    theta = torch.from_numpy(theta)
    expected = torch.nn.functional.affine_grid(theta, [5, 3, 16, 16], align_corners=False)
    assert torch.allclose(augment._grid(theta, 16), expected, atol=1e-6)
