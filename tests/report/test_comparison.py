from dataclasses import replace

import pytest
from made_up_results import pixels, results, several, side

from unfreeze.report.comparison import Side, render, sign_test


def guessed(name: str, wrong: int, **changes) -> Side:
    return side(name, results(["cat", "<i>dog"], 20, wrong=wrong), **changes)


ROWS = {f"{name}/{i}.png": i for i in range(20) for name in ("cat", "<i>dog")}


def test_changed_images_params_and_numbers_stand_side_by_side():
    a, b = guessed("one", 5), guessed("<b>other", 2, seed=7)
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


def test_a_lower_loss_is_a_gain_and_a_lower_accuracy_a_loss():
    a, b = guessed("one", 2), guessed("other", 5)
    b.metrics["test"]["tta"]["log_loss"] = 0.125
    text = " ".join(render(a, b, pixels(20), ROWS).split())
    assert '<td>0.250</td><td>0.125</td><td class="gain">-0.125</td>' in text
    assert '<td>90.0%</td><td>75.0%</td><td class="loss">-15.0 points</td>' in text


def test_images_that_the_workspace_lacks_are_named_without_a_picture():
    html = render(guessed("one", 2), guessed("other", 5), pixels(20), {})
    assert "<img" not in html and "cat/2.png" in html
    assert "None." in render(guessed("one", 2), guessed("one", 2), pixels(20), ROWS)


def test_only_labelled_images_that_both_predicted_are_compared():
    a, b = guessed("one", 5), guessed("other", 2)
    a.predictions.loc[2, "actual"] = ""
    b = replace(b, predictions=b.predictions.drop(index=3))
    assert "Of 18 test images that both predicted, B has 1 right that A has wrong" in render(
        a, b, pixels(20), ROWS
    )


def test_each_side_is_judged_by_its_own_label():
    a, b = guessed("one", 0), guessed("other", 0)
    b.predictions.loc[4, "actual"] = "<i>dog"
    assert "B has 0 right that A has wrong, and 1 wrong that A has right" in render(a, b, pixels(20), ROWS)


def test_several_labels_are_right_if_all_are():
    right = several()
    right.predictions.predicted[:] = right.predictions.actual
    html = render(side("a", several()), side("b", right), pixels(6), {f"{i}.png": i for i in range(6)})
    assert "B has 4 right that A has wrong, and 0 wrong" in html and "Validation F2" in html
    assert "no label" in html


def test_a_side_without_any_epoch_is_compared_too():
    b = guessed("other", 2)
    b = replace(b, epochs=b.epochs[:0])
    html = render(guessed("one", 5), b, pixels(20), ROWS)
    assert html.count("<svg") == 2 and "B has 3 right that A has wrong" in html


def test_the_sign_test_is_that_of_a_fair_coin():
    assert sign_test(0, 0) == sign_test(3, 3) == 1
    assert sign_test(0, 6) == sign_test(6, 0) == pytest.approx(2 / 64)
    assert sign_test(2, 8) == pytest.approx(2 * (1 + 10 + 45) / 1024)
    assert 0 < sign_test(4000, 5000) < 1e-20
