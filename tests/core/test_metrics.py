import json

import pytest

from unfreeze.core.metrics import round_numbers, write_metrics


@pytest.mark.parametrize(
    ("value", "rounded"),
    [
        (0.022864598687805104, 0.0228646),
        (0.02286459868780511, 0.0228646),
        (123456789.0, 123457000.0),
        (1e-7 / 3, 3.33333e-08),
        (123456789, 123456789),
        ({"a": [1 / 3, None, True, "1.23456789"]}, {"a": [0.333333, None, True, "1.23456789"]}),
    ],
)
def test_floats_have_six_significant_digits_and_all_else_stays(value, rounded):
    assert round_numbers(value) == rounded
    assert round_numbers(rounded) == rounded
    assert type(round_numbers(value)) is type(rounded)


def test_both_files_are_rounded(tmp_path):
    write_metrics(tmp_path, metrics={"valid": 2 / 3}, details={"valid": {"tta": {"count": 3, "accuracy": 2 / 3}}})
    assert json.loads((tmp_path / "metrics.json").read_text()) == {"valid": 0.666667}
    details = json.loads((tmp_path / "details.json").read_text())
    assert details == {"valid": {"tta": {"count": 3, "accuracy": 0.666667}}}


def test_what_json_has_no_word_for_is_refused(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        write_metrics(tmp_path, metrics={"valid": float("nan")}, details={})
    assert not (tmp_path / "metrics.json").exists()
