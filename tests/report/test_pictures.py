import numpy as np

from unfreeze.report.pictures import Pictures


def test_rgb_is_shown_as_it_is():
    pixels = np.random.default_rng(0).integers(0, 256, (3, 4, 4, 3), np.uint8)
    shown = Pictures(pixels, 1)
    assert shown.shape == pixels.shape and len(shown) == 3
    assert np.array_equal(shown[2], pixels[2])


def test_grey_gets_three_equal_channels():
    pixels = np.random.default_rng(0).integers(0, 256, (3, 4, 4, 1), np.uint8)
    shown = Pictures(pixels, 1)
    assert shown.shape == (3, 4, 4, 3)
    assert np.array_equal(shown[0], np.repeat(pixels[0], 3, axis=-1))


def test_transparent_pixels_are_laid_on_white():
    pixels = np.zeros((1, 1, 3, 4), np.uint8)
    pixels[0, 0, :, 3] = [0, 255, 51]
    assert Pictures(pixels, 1)[0][0, :, 0].tolist() == [255, 0, 204]


def test_decibels_get_false_colours_on_one_scale_for_all():
    pixels = np.random.default_rng(0).normal(-20, 3, (40, 8, 8, 3)).astype(np.float32)
    pixels[..., 1] -= 10
    pixels[5, 0, 0, 0] = 500
    shown = Pictures(pixels, 1)
    first = shown[0]
    assert first.dtype == np.uint8 and shown[5][0, 0, 0] == 255
    assert 110 < first[..., 0].mean() < 145 and 110 < first[..., 1].mean() < 145
    order = pixels[0, ..., 0].argsort(axis=None)
    assert (np.diff(first[..., 0].ravel()[order].astype(int)) >= 0).all()


def test_a_constant_channel_is_shown_without_a_warning():
    assert Pictures(np.full((2, 4, 4, 3), -7.0, np.float32), 1)[0].max() == 0
