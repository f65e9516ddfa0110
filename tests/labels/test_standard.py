import numpy as np
import pytest

from unfreeze.core.console import UserError
from unfreeze.labels.standard import encode_numbers, measure_channels, measure_numbers, standardise

ROWS = np.array([0, 1, 3])
ANGLES = np.array([[30.0], [34.0], [90.0], [np.nan], [38.0]])


def test_images_have_no_normalisation_of_their_own_whatever_the_split():
    pixels = np.zeros((4, 2, 2, 3), np.uint8)
    assert measure_channels(pixels, ROWS) == measure_channels(pixels, ROWS[:1]) == {"mean": [], "std": []}


def test_measured_values_are_standardised_by_the_training_rows_alone(monkeypatch):
    monkeypatch.setattr("unfreeze.labels.standard.IMAGES_AT_ONCE", 7)
    pixels = np.random.default_rng(0).normal([-20, -30, 10], [3, 1, 0.1], (50, 8, 8, 3)).astype(np.float32)
    rows = np.arange(0, 50, 2)
    pixels[1] = 1e6  # a row that does not train
    channels = measure_channels(pixels, rows)
    assert channels["mean"] == pytest.approx(pixels[rows].mean((0, 1, 2), dtype=np.float64), rel=1e-6)
    assert channels["std"] == pytest.approx(pixels[rows].std((0, 1, 2), dtype=np.float64), rel=1e-5)


def test_a_channel_that_says_nothing_is_an_error():
    pixels = np.random.default_rng(0).normal(size=(4, 2, 2, 3)).astype(np.float32)
    pixels[..., 1] = 5
    with pytest.raises(UserError, match="channel 2 of the training records has the same value"):
        measure_channels(pixels, ROWS)


def test_missing_numbers_are_the_training_median_and_are_flagged():
    (angle,) = statistics = measure_numbers(["angle"], ANGLES, ROWS)
    assert angle == {"name": "angle", "median": 32.0, "mean": 32.0, "std": 2.0, "indicator": True}
    inputs = encode_numbers(ANGLES, statistics)
    assert inputs.dtype == np.float32
    assert inputs.tolist() == [[-1, 0], [1, 0], [29, 0], [0, 1], [3, 0]]


def test_without_a_missing_number_in_training_there_is_no_flag():
    statistics = measure_numbers(["angle"], ANGLES, ROWS[:2])
    assert encode_numbers(ANGLES, statistics).tolist() == [[-1], [1], [29], [0], [3]]


def test_no_numbers_are_an_array_without_columns():
    standard = standardise(np.zeros((3, 2, 2, 3), np.uint8), [()] * 3, [], ["train"] * 3)
    assert standard.columns == [] and standard.inputs.shape == (3, 0) and standard.inputs.dtype == np.float32


@pytest.mark.parametrize(("values", "what"), [([None, None], "no number"), ([3, 3], "one and the same number")])
def test_columns_that_say_nothing_are_errors(values, what):
    with pytest.raises(UserError, match=f"split.numbers: angle has {what} in all training images"):
        numbers = [(value,) for value in values]
        standardise(np.zeros((2, 2, 2, 3), np.uint8), numbers, ["angle"], ["train", "train"])
