import warnings

import numpy as np
import pytest
from image_files import PHOTO, encode, grey, png
from PIL import Image

from unfreeze.images.convert import decode_image


def colours(data, width=1):
    """The colours of an image of `width` pixels, left to right, or the mean colour."""
    return decode_image(data, width, "squish").pixels[0].tolist()


def palette(transparency):
    image = Image.new("P", (8, 8), 1)
    image.putpalette([0, 0, 0, 200, 0, 100])
    return encode(image, transparency=transparency)


MODES = {
    "L": (encode(Image.new("L", (8, 8), 77)), [[77, 77, 77]]),
    "1": (encode(Image.new("1", (8, 8), 1)), [[255, 255, 255]]),
    "RGB": (encode(Image.new("RGB", (8, 8), (1, 2, 3))), [[1, 2, 3]]),
    "RGBA": (encode(Image.new("RGBA", (8, 8), (255, 0, 0, 51))), [[255, 204, 204]]),
    "RGBA, hidden colour": (encode(Image.new("RGBA", (8, 8), (9, 9, 9, 0))), [[255, 255, 255]]),
    "LA": (encode(Image.new("LA", (8, 8), (0, 51))), [[204, 204, 204]]),
    "P": (palette(None), [[200, 0, 100]]),
    "P, transparent index": (palette(1), [[255, 255, 255]]),
    "P, alpha for each index": (palette(b"\xff\x33"), [[244, 204, 224]]),
    "L, transparent value": (encode(Image.new("L", (8, 8), 7), transparency=7), [[255, 255, 255]]),
    "CMYK JPEG": (encode(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG", quality=100), [[254, 0, 0]]),
    "CMYK TIFF": (encode(Image.new("CMYK", (8, 8), (255, 0, 0, 0)), "TIFF"), [[0, 255, 255]]),
    "YCbCr": (encode(Image.new("RGB", (8, 8), (0, 0, 255)).convert("YCbCr"), "TIFF"), [[0, 0, 254]]),
    "LAB": (encode(Image.new("RGB", (8, 8), (200, 30, 30)).convert("LAB"), "TIFF"), [[200, 29, 30]]),
    "16 bits": (grey([0, 256, 32768, 65535], np.uint16, "PNG"), [[0] * 3, [1] * 3, [128] * 3, [255] * 3]),
    "16 bits, big-endian": (
        encode(Image.frombytes("I;16B", (8, 8), b"\x80\x00" * 64), "TIFF"),
        [[128, 128, 128]],
    ),
    "16 bits RGB": (png(1, 1, 16, 2, b"\0\xff\xff\x80\x00\x01\x00"), [[255, 128, 1]]),
    "16 bits LA": (png(1, 1, 16, 4, b"\0\x00\x00\x33\x33"), [[204, 204, 204]]),
    "16 bits PGM": (b"P5 2 1 65535 \x01\x00\xff\xff", [[1] * 3, [255] * 3]),
    "I, 16 bits' worth": (grey([0, 255, 65535], np.int32), [[0] * 3, [0] * 3, [255] * 3]),
    "I, negative": (grey([-1000, 0, 1000], np.int32), [[0] * 3, [128] * 3, [255] * 3]),
    "I, wide": (grey([0, 2**20], np.int32), [[0] * 3, [255] * 3]),
    "I, one negative value": (grey([-5, -5], np.int32), [[0] * 3, [0] * 3]),
    "F, 0..1": (grey([0, 0.25, 0.5], np.float32), [[0] * 3, [64] * 3, [128] * 3]),
    "F, 0..255": (grey([0, 100, 200], np.float32), [[0] * 3, [100] * 3, [200] * 3]),
    "F, 0..65535": (grey([0, 256, 65535], np.float32), [[0] * 3, [1] * 3, [255] * 3]),
    "F, decibels": (grey([-40, -20, 0], np.float32), [[0] * 3, [128] * 3, [255] * 3]),
    "F, black": (grey([0, 0], np.float32), [[0] * 3, [0] * 3]),
    "animated": (
        encode(
            Image.new("RGB", (8, 8), (255, 0, 0)),
            "GIF",
            save_all=True,
            append_images=[Image.new("RGB", (8, 8), (0, 0, 255))],
        ),
        [[255, 0, 0]],
    ),
}


@pytest.mark.parametrize("name", MODES)
def test_every_mode_gets_the_right_colours(name):
    data, expected = MODES[name]
    np.testing.assert_allclose(colours(data, len(expected)), expected, atol=1)


def test_all_values_of_8_bits_survive_as_floats():
    data = encode(Image.fromarray(np.arange(256, dtype=np.float32).reshape(16, 16)), "TIFF")
    assert decode_image(data, 16, "crop").pixels[..., 0].ravel().tolist() == list(range(256))


def test_what_is_told_about_an_image():
    decoded = decode_image(encode(PHOTO.convert("P"), "GIF"), 32, "crop")
    assert decoded[1:] == (70, 50, "P", "GIF", None, ())
    assert decoded.pixels.shape == (32, 32, 3)
    assert decoded.pixels.dtype == np.uint8


@pytest.mark.parametrize("format", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied_once(format, orientation):
    # The inverse of each transposition, so that applying it shows the photo again.
    stored = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    image = PHOTO.transpose(stored[orientation]) if orientation > 1 else PHOTO
    exif = Image.Exif()
    exif[0x0112] = orientation
    decoded = decode_image(encode(image, format, exif=exif, quality=95), 32, "squish")
    expected = decode_image(encode(PHOTO), 32, "squish").pixels
    assert (decoded.width, decoded.height) == PHOTO.size
    assert np.abs(decoded.pixels.astype(int) - expected).mean() < 8


@pytest.mark.parametrize("exif", [b"Exif\0\0", b"Exif\0\0garbage", b"Exif\0\0II*\0\xff\xff\xff\xff", b"x" * 99])
def test_broken_exif_is_no_reason_to_reject(exif):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        decoded = decode_image(encode(PHOTO, "JPEG", exif=exif), 32, "crop")
    assert (decoded.width, decoded.height) == PHOTO.size


@pytest.mark.parametrize("source", [(70, 50), (50, 70), (64, 64), (31, 33), (33, 31), (333, 500), (17, 400)])
@pytest.mark.parametrize("size", [16, 33, 64])
def test_crop_is_resize_then_centre_crop(source, size):
    image = PHOTO.resize(source)
    width, height = source
    # torchvision's Resize(size) and CenterCrop(size)
    short = min(source)
    new_width, new_height = int(size * width / short), int(size * height / short)
    left, top = round((new_width - size) / 2.0), round((new_height - size) / 2.0)
    resized = image.resize((new_width, new_height), Image.Resampling.BILINEAR)
    expected = np.asarray(resized.crop((left, top, left + size, top + size))).astype(int)
    assert np.abs(decode_image(encode(image), size, "crop").pixels - expected).max() <= 1


def test_squish_is_a_plain_resize():
    expected = np.asarray(PHOTO.resize((32, 32), Image.Resampling.BILINEAR))
    np.testing.assert_array_equal(decode_image(encode(PHOTO), 32, "squish").pixels, expected)


@pytest.mark.parametrize("turned", [False, True])
def test_pad_mirrors_the_image_around_itself(turned):
    image, size = (PHOTO.transpose(Image.Transpose.TRANSPOSE), (25, 35)) if turned else (PHOTO, (35, 25))
    pixels = decode_image(encode(image), 35, "pad").pixels
    resized = np.asarray(image.resize(size, Image.Resampling.BILINEAR))
    if turned:
        pixels, resized = pixels.transpose(1, 0, 2), resized.transpose(1, 0, 2)
    np.testing.assert_array_equal(pixels[5:30], resized)
    np.testing.assert_array_equal(pixels[:5], pixels[6:11][::-1])
    np.testing.assert_array_equal(pixels[30:], pixels[24:29][::-1])


@pytest.mark.parametrize("source", [(1, 1), (1, 500), (500, 1), (2, 3000)])
@pytest.mark.parametrize("fit", ["crop", "squish", "pad"])
def test_extreme_shapes(source, fit):
    pixels = decode_image(encode(Image.new("RGB", source, (10, 200, 30))), 32, fit).pixels
    assert (pixels == (10, 200, 30)).all()


def channels(image, kind, size=1):
    return decode_image(encode(image), size, "squish", kind).pixels


def test_grey_is_one_channel_and_of_a_grey_image_the_image_itself():
    ramp = np.arange(256, dtype=np.uint8).reshape(16, 16)
    pixels = channels(Image.fromarray(ramp), "grey", 16)
    assert pixels.shape == (16, 16, 1)
    assert np.array_equal(pixels[..., 0], ramp)
    assert channels(Image.new("RGB", (4, 4), (255, 0, 0)), "grey").tolist() == [[[76]]]  # ITU-R 601: 0.299 x 255
    assert channels(Image.new("RGBA", (4, 4), (9, 9, 9, 0)), "grey").tolist() == [[[255]]]  # on white
    for fit in ("crop", "pad", "squish"):
        assert decode_image(encode(PHOTO), 20, fit, "grey").pixels.shape == (20, 20, 1)
        assert decode_image(encode(PHOTO), 20, fit, "rgba").pixels.shape == (20, 20, 4)


def test_transparency_is_the_fourth_channel():
    assert channels(Image.new("RGBA", (4, 4), (200, 100, 0, 128)), "rgba", 4)[1, 2].tolist() == [200, 100, 0, 128]
    assert channels(Image.new("RGB", (4, 4), (200, 100, 0)), "rgba").tolist() == [[[200, 100, 0, 255]]]
    hidden = Image.new("RGBA", (4, 4), (200, 100, 0, 0))
    assert channels(hidden, "rgba", 4).max() == 0  # nobody can see it
