import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable

import numpy as np
import pytest

from unfreeze.report import figures

RATES = np.geomspace(1e-5, 1, 30)
LOSSES = {"training": [1, 0.5, 0.4], "validation": [1, float("nan"), 0.5]}
CHARTS: dict[str, Callable[[str], str]] = {
    "lr_finder": lambda name: figures.draw_lr_finder(
        name, RATES, 1 + RATES, RATES, {"steepest": 0.01, "tenth": 0.1}
    ),
    "schedule": lambda name: figures.draw_schedule(name, {"head": RATES, "fine-tuning": RATES[:5]}),
    "by_epoch_and_rate": lambda name: figures.draw_epochs(
        name,
        "loss",
        LOSSES,
        ["head", "head", "frozen"],
        [([0.5, 1, 1.5], [0.1, 0.2, 0]), ([2.5, 3.4], [0.1, 0])],
    ),
    "overlay": lambda name: figures.draw_overlay(name, "loss", [[1, 0.5, 0.4], [1, float("nan")]]),
    "curve": lambda name: figures.draw_curves(
        name, ("recall", "precision"), {"a": ([0, 1], [1, 0]), "b": ([0, 1], [1, 1])}, diagonal=True, marks=[0.25]
    ),
    "sizes": lambda name: figures.draw_sizes(name, [40, 80], [30, 30], [9, 1]),
    "by_epoch": lambda name: figures.draw_epochs(name, "loss", LOSSES, ["head", "head", "frozen"]),
    "reliability": lambda name: figures.draw_reliability(
        name, [0.5, 0.9], [0.4, 1.0], [10, 30], [(0.2, 0.7), (0.9, 1.0)]
    ),
}


def parsed(svg: str) -> ElementTree.Element:
    # HTML needs no declaration of xlink, XML does.
    return ElementTree.fromstring(svg.replace("<svg ", '<svg xmlns:xlink="http://www.w3.org/1999/xlink" ', 1))


def texts(svg: str) -> list[str]:
    return [element.text for element in parsed(svg).iter("text")]


@pytest.mark.parametrize("chart", CHARTS.values(), ids=CHARTS)
def test_a_chart_is_one_element_with_the_same_bytes_each_time(chart: Callable[[str], str]) -> None:
    svg = chart("a")
    assert svg == chart("a")
    root = parsed(svg)
    assert root.tag == "svg"
    assert root.get("role") == "img"
    assert root.get("aria-label")
    assert "metadata" not in svg
    assert "http" not in svg


@pytest.mark.parametrize("chart", CHARTS.values(), ids=CHARTS)
def test_all_colours_follow_the_page(chart: Callable[[str], str]) -> None:
    assert not re.findall(r"#[0-9a-fA-F]{6}\b", chart("a"))


def test_ids_are_unique_in_a_page_and_every_reference_is_met() -> None:
    page = "".join(chart(name) for name, chart in CHARTS.items())
    ids = re.findall(r'\bid="([^"]*)"', page)
    assert len(ids) == len(set(ids)) > 50
    references = re.findall(r'url\(#([^)]*)\)|href="#([^"]*)"', page)
    assert references
    assert {a or b for a, b in references} <= set(ids)


def test_charts_say_what_they_show() -> None:
    assert "10⁻⁴" in texts(CHARTS["lr_finder"]("a"))
    assert "steepest: 0.01" in texts(CHARTS["lr_finder"]("a"))
    assert "fine-tuning" in texts(CHARTS["schedule"]("a"))
    assert {"rate", "epoch", "loss", "head"} <= set(texts(CHARTS["by_epoch_and_rate"]("a")))
    assert {"by chance", "threshold 0.25", "recall"} <= set(texts(CHARTS["curve"]("a")))
    assert {"head", "frozen", "training", "validation"} <= set(texts(CHARTS["by_epoch"]("a")))


def test_a_long_line_is_thinned_and_keeps_its_ends() -> None:
    x, y = figures._points(np.arange(100_000), np.arange(100_000))
    assert len(x) == figures._MOST_POINTS
    assert (x[0], x[-1], y[-1]) == (0, 99_999, 99_999)
    assert len(figures.draw_schedule("a", {"head": np.ones(100_000)})) < 100_000


def test_numbers_that_are_not_finite_are_left_out() -> None:
    x, y = figures._points([1, 2, 3, 4], [1, float("nan"), float("inf"), 4])
    assert (x.tolist(), y.tolist()) == ([1, 4], [1, 4])


def test_one_epoch_and_one_bin_are_charts_too() -> None:
    assert parsed(figures.draw_epochs("a", "loss", {"training": [1.0]}, ["head"])) is not None
    assert parsed(figures.draw_reliability("b", [0.9], [1.0], [3], [(0.4, 1.0)])) is not None
