import numpy as np
import pytest
from made_up_results import params, pixels, results, several

from unfreeze.report.comparison import Side, render, sign_test


def side(name: str, wrong: int, **changes) -> Side:
    given = results(["cat", "<i>dog"], 20, wrong=wrong)
    epochs = [*given.head_epochs, *given.finetune_epochs]
    return Side(name, params() | changes, given.metrics, epochs, given.predictions)


ROWS = {f"{name}/{i}.png": i for i in range(20) for name in ("cat", "<i>dog")}


def test_changed_images_params_and_numbers_stand_side_by_side():
    a, b = side("one", 5), side("<b>other", 2, seed=7)
    html = render(a, b, pixels(20), ROWS)
    assert html == render(a, b, pixels(20), ROWS)
    assert "<i>dog" not in html and "<b>other" not in html
    assert "B has 3 right that A has wrong, and 0 wrong that A has right" in html
    assert html.count("<img") == 3 and "probability 0.25" in html
    text = " ".join(html.split())
    assert '<bdi title="seed">seed</bdi></th><td class="text"><bdi title="1">1</bdi></td>' in text
    assert '<td>75.0%</td><td>90.0%</td><td class="gain">+15.0 points</td>' in text
    assert '<td>0.250</td><td>0.250</td><td class="">=</td>' in text
    assert "Validation accuracy" in html and html.count("<svg") == 2


def test_images_that_the_workspace_lacks_are_named_without_a_picture():
    html = render(side("one", 2), side("other", 5), pixels(20), {})
    assert "<img" not in html and "cat/2.png" in html
    assert "None." in render(side("one", 2), side("one", 2), pixels(20), ROWS)


def test_several_labels_are_right_if_all_are():
    given = several()
    wrong = Side("a", params(), given.metrics, given.head_epochs, given.predictions)
    right = Side("b", params(), given.metrics, given.head_epochs, several().predictions)
    right.predictions.predicted[:] = right.predictions.actual
    html = render(wrong, right, pixels(6), {f"{i}.png": i for i in range(6)})
    assert "B has 4 right that A has wrong, and 0 wrong" in html and "Validation F2" in html
    assert np.all(right.predictions.actual == right.predictions.predicted)


def test_the_sign_test_is_that_of_a_fair_coin():
    assert sign_test(0, 0) == sign_test(3, 3) == 1
    assert sign_test(0, 6) == sign_test(6, 0) == pytest.approx(2 / 64)
    assert sign_test(2, 8) == pytest.approx(2 * (1 + 10 + 45) / 1024)
    assert 0 < sign_test(4000, 5000) < 1e-20
