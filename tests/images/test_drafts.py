import io

import numpy as np
import pytest
from image_files import encode
from PIL import Image

from benchmarks.decode import photo
from unfreeze.images import convert
from unfreeze.images.convert import decode_image


def gap(data, *how, monkeypatch):
    """The difference, in levels, between an image decoded as it is by default and exactly."""
    drafted = decode_image(data, *how)
    monkeypatch.setattr(convert, "OVERSAMPLING", 10**6)
    exact = decode_image(data, *how)
    assert drafted[1:] == exact[1:]
    return drafted.pixels.astype(float) - exact.pixels


@pytest.mark.parametrize("size", [128, 256, 512])
def test_a_photograph_of_12_megapixels_is_nearly_what_it_is_exactly(size, monkeypatch):
    off = gap(photo(4000, 3000, 1), size, "crop", monkeypatch=monkeypatch)
    assert 0 < np.sqrt((off**2).mean()) < 1
    assert abs(off).max() <= 8


# Neither side is a multiple of 8, so that the last pixel of a draft lies partly beyond the image.
WIDE = Image.open(io.BytesIO(photo(2003, 1301, 0)))


@pytest.mark.parametrize("fit", ["crop", "squish", "pad"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_draft_lies_where_the_image_lies(orientation, fit, monkeypatch):
    exif = Image.Exif()
    exif[0x0112] = orientation
    off = gap(encode(WIDE, "JPEG", exif=exif, quality=95), 96, fit, monkeypatch=monkeypatch)
    assert 0 < np.sqrt((off**2).mean()) < 1
    # The edges as well: a draft that is taken for an image of other proportions is off most there.
    assert (
        max(np.sqrt((off[edge] ** 2).mean()) for edge in np.s_[:2, -2:, (slice(None), 0), (slice(None), -1)]) < 2
    )


@pytest.mark.parametrize("mode, channels", [("L", "rgb"), ("CMYK", "rgb"), ("L", "grey"), ("RGB", "rgba")])
def test_drafts_of_every_jpeg_mode(mode, channels, monkeypatch):
    off = gap(encode(WIDE.convert(mode), "JPEG", quality=95), 96, "crop", channels, monkeypatch=monkeypatch)
    assert 0 < np.sqrt((off**2).mean()) < 1


@pytest.mark.parametrize("source, format", [((127, 500), "JPEG"), ((500, 127), "JPEG"), ((700, 700), "PNG")])
def test_what_is_less_than_four_times_the_stored_size_or_no_jpeg_is_exact(source, format, monkeypatch):
    assert not gap(encode(WIDE.resize(source), format), 32, "crop", monkeypatch=monkeypatch).any()
