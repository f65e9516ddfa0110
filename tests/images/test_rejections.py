import zlib

import numpy as np
import pytest
from image_files import LFS_POINTER, PHOTO, chunk, encode, grey, png

from unfreeze.images.convert import decode_image, is_candidate
from unfreeze.images.members import Rejection

REJECTS = {
    "empty": (b"", "empty file"),
    "pointer": (LFS_POINTER, "Git-LFS pointer"),
    "text": (b"no image, only words", "not an image"),
    "HEIC": (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "damaged HEIF"),
    "PostScript": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n", "EPS or PostScript, which"),
    "bomb of 2.5 gigapixels": (png(50_000, 50_000, 8, 2), "more than 200,000,000 pixels (decode.max_pixels)"),
    "bomb of 225 megapixels": (png(15_000, 15_000, 8, 2), "more than 200,000,000 pixels (decode.max_pixels)"),
    "text bomb": (
        png(1, 1, 8, 2, extra=chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(2**21)))),
        "damaged (Decompressed data too large",
    ),
    "checksum": (encode(PHOTO).replace(b"IDAT", b"IDAT\x55", 1), "damaged"),
    "not a number": (grey([0.5, np.nan], np.float32), "damaged (values that are no finite numbers)"),
    "infinite": (grey([0.5, np.inf], np.float32), "damaged (values that are no finite numbers)"),
}


@pytest.mark.parametrize("name", REJECTS)
def test_rejects(name):
    data, reason = REJECTS[name]
    with pytest.raises(Rejection) as caught:
        decode_image(data, 32, "crop")
    assert str(caught.value).startswith(reason)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP"])
def test_truncated_images_are_rejected_wherever_they_end(format):
    data = encode(PHOTO, format)
    for end in np.linspace(1, len(data) * 0.95, 20).astype(int):
        with pytest.raises(Rejection, match=r"damaged|not an image"):
            decode_image(data[:end], 32, "crop")


@pytest.mark.parametrize("format", ["JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "TGA", "PPM", "JPEG2000", "ICO"])
def test_damaged_bytes_give_an_image_or_a_reason(format):
    data = bytearray(encode(PHOTO, format))
    generator = np.random.default_rng(1)
    for _ in range(40):
        damaged = bytearray(data)
        for position in generator.integers(0, min(len(data), 400), 3):
            damaged[position] = generator.integers(256)
        try:
            assert decode_image(bytes(damaged), 16, "crop").pixels.shape == (16, 16, 3)
        except Rejection as rejection:
            assert 0 < len(str(rejection)) < 250
            assert "0x" not in str(rejection)  # an address would differ from run to run


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("a/1.jpg", True),
        ("a/1.JPEG", True),
        ("a/1", True),
        ("a/1.unknown", True),
        ("a.csv/1.png", True),
        ("labels.csv", False),
        ("train/Labels.CSV", False),
        ("notes.txt", False),
        ("model.pth", False),
        (".DS_Store", False),
        ("a/._1.jpg", False),
        ("__MACOSX/a/1.jpg", False),
        ("a/Thumbs.db", False),
    ],
)
def test_which_files_are_tried(path, expected):
    assert is_candidate(path) is expected
