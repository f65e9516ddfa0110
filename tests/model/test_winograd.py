import pytest
import torch
from torch import nn
from torch.nn.functional import conv2d

from unfreeze.model.fast import winograd


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("side", [(1, 1), (4, 4), (5, 7), (7, 7), (8, 12), (14, 14), (3, 21)])
@pytest.mark.parametrize(("bias", "added", "relu"), [(False,) * 3, (True, False, True), (True, True, True)])
def test_it_is_the_convolution(side, bias, added, relu, monkeypatch):
    """In 64 bits all that is left of the difference is rounding, and in 32 bits it is small."""
    monkeypatch.setattr(winograd, "TILE_BYTES", 36 * 4 * 6 * 3)  # the images never fit into one block
    images, weight = random(5, 3, *side), random(6, 3, 3, 3, seed=1)
    offsets, other = random(6, seed=2) if bias else None, random(5, 6, *side, seed=3) if added else None
    expected = conv2d(images, weight, offsets, padding=1)
    expected = expected + other if added else expected
    expected = expected.relu() if relu else expected
    for dtype, error in ((torch.float64, 1e-13), (torch.float32, 5e-6)):
        each = [None if given is None else given.to(dtype) for given in (images, weight, offsets, other)]
        output = winograd.convolve(each[0], winograd.transform_weights(each[1]), each[2], each[3], relu)
        assert output.shape == expected.shape and output.dtype == dtype
        assert output.is_contiguous(memory_format=torch.channels_last)
        assert (output.double() - expected).norm() <= error * expected.norm()


def test_inputs_stay_as_they_are():
    images, other, weight = (random(2, 4, 8, 8, seed=seed) for seed in range(3))
    weight = winograd.transform_weights(random(4, 4, 3, 3))
    before = [each.clone() for each in (images, other, weight)]
    winograd.convolve(images, weight, None, other, relu=True)
    assert all(map(torch.equal, (images, other, weight), before))


WIDE = {"in_channels": 128, "out_channels": 128, "kernel_size": 3, "padding": 1}


@pytest.mark.skipif(not torch.backends.mkl.is_available(), reason="this torch has no MKL")
@pytest.mark.parametrize(
    "other",
    [
        {"in_channels": 32}, {"in_channels": 64, "out_channels": 64}, {"kernel_size": 1, "padding": 0},
        {"padding": 0}, {"stride": 2}, {"dilation": 2}, {"groups": 128}, {"padding_mode": "reflect"},
        {"padding": "same"},
    ],
)  # fmt: skip
def test_it_takes_what_it_computes_and_is_faster_for(other, monkeypatch):
    monkeypatch.delenv("MKL_CBWR", raising=False)
    assert winograd.supports(nn.Conv2d(**WIDE)) and winograd.supports(nn.Conv2d(**WIDE | {"in_channels": 64}))
    assert not winograd.supports(nn.Conv2d(**WIDE | other))
    monkeypatch.setenv("MKL_CBWR", "COMPATIBLE")  # runtime.strict
    assert not winograd.supports(nn.Conv2d(**WIDE))


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((32, 128, 14, 14), True), ((32, 128, 9, 9), False), ((32, 256, 9, 9), True), ((32, 256, 5, 5), False),
        ((32, 512, 5, 5), True), ((32, 512, 2, 2), False), ((1, 512, 20, 20), False), ((1, 128, 24, 24), True),
    ],
)  # fmt: skip
def test_few_tiles_or_tiles_over_the_edges_are_not_worth_it(shape, expected):
    assert winograd.is_faster(torch.empty(shape)) == expected
