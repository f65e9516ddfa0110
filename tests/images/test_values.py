import numpy as np
import pytest

from unfreeze.images import values as module
from unfreeze.images.values import Extent, measure, range_of_bits, range_of_image, range_of_set, scale_to_uint8


@pytest.mark.parametrize(
    ("high", "white"),
    [(0, 255), (255, 255), (256, 1023), (1023, 1023), (1024, 4095), (4095, 4095), (4096, 16383), (65535, 65535)],
)
def test_integers_take_the_fewest_bits_that_hold_them(high, white):
    assert range_of_set(Extent("integers", 0, high)) == (0, white)
    assert range_of_image(Extent("integers", 0, high)) == (0, 65535)


@pytest.mark.parametrize(
    ("extent", "expected"),
    [
        (Extent("integers", -1024, 3071), (-1024, 3071)),
        (Extent("integers", 5, 65536), (5, 65536)),
        (Extent("floats", 0.2, 0.9), (0, 1)),
        (Extent("floats", 0.0, 1.5), (0, 255)),
        (Extent("floats", 0.0, 300.0), (0, 65535)),
        (Extent("floats", -1.0, 0.5), (-1.0, 0.5)),
        (Extent("floats", 3.0, 1e6), (3.0, 1e6)),
    ],
)
def test_other_values(extent, expected):
    assert range_of_set(extent) == range_of_image(extent) == expected


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
@pytest.mark.parametrize("dtype", [np.uint16, np.int32])
def test_the_scale_is_a_shift_that_clips(bits, dtype):
    values = np.arange(2**16, dtype=dtype).reshape(256, 256)
    expected = np.minimum(values >> (bits - 8), 255)
    assert np.array_equal(scale_to_uint8(values, range_of_bits(bits)), expected)


def test_an_array_is_scaled_in_parts_alike(monkeypatch):
    values = np.random.default_rng(0).normal(size=(50, 7, 3)).astype(np.float32)
    whole = scale_to_uint8(values, (-2.0, 2.0))
    monkeypatch.setattr(module, "BLOCK", 40)
    assert np.array_equal(scale_to_uint8(values, (-2.0, 2.0)), whole)
    assert whole.min() == 0 and whole.max() == 255  # beyond the range: clipped


def test_what_is_measured():
    assert measure(np.array([[3, 9]], np.uint16)) == Extent("integers", 3, 9)
    assert measure(np.array([[-0.5, 9]], np.float32)) == Extent("floats", -0.5, 9)
    with pytest.raises(ValueError, match="finite"):
        measure(np.array([[np.nan]]))
