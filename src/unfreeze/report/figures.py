"""The charts, as SVG text to stand inside an HTML page.

Every function returns one `<svg>` element, the same bytes each time. Colours are the page's CSS variables, so
that a chart follows its light and dark scheme. `name` is the prefix of all ids inside and must be unique in the
page. Numbers that are not finite are left out. No text of the user's reaches a chart.
"""

import io
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# matplotlib wants true colours: these stand-ins become CSS variables in the finished text.
_INK, _MUTED, _LINE, _BLUE, _ORANGE = "#010101", "#020202", "#030303", "#040404", "#050505"
_CSS = {_INK: "--ink", _MUTED: "--muted", _LINE: "--line", _BLUE: "--blue", _ORANGE: "--orange"}

_STYLE = {
    "axes.edgecolor": _LINE,
    "axes.facecolor": "none",
    "axes.grid": True,
    "axes.labelcolor": _MUTED,
    "axes.labelsize": 9,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.facecolor": "none",
    "figure.constrained_layout.use": True,
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "grid.color": _LINE,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "legend.labelcolor": _INK,
    "lines.linewidth": 1.8,
    "svg.fonttype": "none",
    "svg.hashsalt": "unfreeze",
    "text.color": _INK,
    "text.parse_math": False,
    "xtick.color": _LINE,
    "xtick.labelcolor": _MUTED,
    "ytick.color": _LINE,
    "ytick.labelcolor": _MUTED,
}
_WIDTH, _HEIGHT = 4.6, 3.0  # inches: the text stays readable where the page shows a chart 340 px wide
_MOST_POINTS = 800  # on a line: more cannot be seen and make the page heavy


def draw_lr_finder(
    name: str,
    lr: Sequence[float],
    loss: Sequence[float],
    smoothed: Sequence[float],
    suggestions: dict[str, float],
) -> str:
    """Draw loss over learning rate, with at most two suggestions (label -> rate) as vertical lines."""
    with _style():
        figure, (axes,) = _axes()
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(_power_of_ten)
        axes.minorticks_off()
        axes.plot(*_points(lr, loss), color=_MUTED, linewidth=0.8, alpha=0.6, label="loss")
        axes.plot(*_points(lr, smoothed), color=_BLUE, label="smoothed")
        for (label, rate), dashes in zip(suggestions.items(), ("--", ":"), strict=False):
            axes.axvline(rate, color=_ORANGE, linestyle=dashes, linewidth=1.5, label=f"{label}: {rate:.2g}")
        finite = _points(lr, smoothed)[1]
        if len(finite):  # the losses of single batches may go far beyond
            room = max(float(np.ptp(finite)), 1e-6)
            axes.set_ylim(finite.min() - 0.3 * room, finite.max() + 0.6 * room)
        axes.set(xlabel="learning rate", ylabel="training loss")
        axes.legend(fontsize=8)
        return _svg(figure, name, "Loss over the learning rate, with the suggested rates")


def draw_schedule(name: str, stages: dict[str, Sequence[float]]) -> str:
    """Draw the learning rate by step of each stage (title -> rates), side by side."""
    with _style():
        figure, panels = _axes(columns=len(stages))
        for axes, (title, lr) in zip(panels, stages.items(), strict=True):
            axes.plot(*_points(np.arange(1, len(lr) + 1), lr), color=_BLUE, linewidth=1.4)
            axes.set_title(title, fontsize=9)
            axes.set(xlabel="step", ylim=(0, None))
            axes.yaxis.set_major_formatter("{x:g}")
            axes.locator_params(axis="x", nbins=4, integer=True)
        panels[0].set_ylabel("learning rate")
        return _svg(figure, name, "Learning rate by step")


def draw_epochs(
    name: str,
    what: str,
    lines: dict[str, Sequence[float]],
    phases: Sequence[str],
    rates: Sequence[tuple[Sequence[float], Sequence[float]]] = (),
) -> str:
    """Draw at most two lines over the epochs, and the learning rates below them.

    Args:
        what: the label of the y axis.
        lines: label -> one number an epoch.
        phases: the name of the phase of each epoch.
        rates: of each stage the epochs (with fractions) and the learning rates.
    """
    epochs = np.arange(1, len(phases) + 1)
    with _style():
        figure, panels = _axes(rows=(3, 1) if rates else (1,))
        axes, last = panels[0], panels[-1]
        for (label, values), colour in zip(lines.items(), (_BLUE, _ORANGE), strict=False):
            axes.plot(*_points(epochs, values), color=colour, label=label, marker=".", markersize=5)
        starts = [i for i in range(len(phases)) if i == 0 or phases[i] != phases[i - 1]]
        for start in starts:
            for panel in panels if start else ():
                panel.axvline(start + 0.5, color=_MUTED, linestyle=":", linewidth=1)
            above = axes.get_xaxis_transform()
            axes.text(start + 0.6, 1.02, phases[start], transform=above, color=_MUTED, fontsize=8)
        for x, lr in rates:
            last.plot(*_points(x, lr), color=_MUTED, linewidth=1.2)
        if rates:
            last.set(ylabel="rate", ylim=(0, None))
            last.locator_params(axis="y", nbins=3)
            last.yaxis.set_major_formatter("{x:g}")
        axes.set(ylabel=what)
        last.set(xlabel="epoch", xlim=(0.5, len(phases) + 0.5))
        last.locator_params(axis="x", nbins=8, integer=True)
        if len(lines) > 1:
            axes.legend(fontsize=8)
        under = ", over the learning rate" if rates else ""
        return _svg(figure, name, f"{what} by epoch: {', '.join(phases[start] for start in starts)}{under}")


def draw_overlay(name: str, what: str, sides: Sequence[Sequence[float]]) -> str:
    """Draw one number an epoch of the experiments A and B."""
    with _style():
        figure, (axes,) = _axes()
        for label, values, colour, dashes in zip("AB", sides, (_BLUE, _ORANGE), ("-", "--"), strict=True):
            points = _points(np.arange(1, len(values) + 1), values)
            axes.plot(*points, color=colour, linestyle=dashes, label=label, marker=".")
        axes.set(xlabel="epoch", ylabel=what)
        axes.locator_params(axis="x", nbins=8, integer=True)
        axes.legend(fontsize=8)
        return _svg(figure, name, f"{what} by epoch of A and B")


def draw_curves(
    name: str,
    axes_of: tuple[str, str],
    lines: dict[str, tuple[Sequence[float], Sequence[float]]],
    diagonal: bool = False,
    marks: Sequence[float] = (),
) -> str:
    """Draw at most two lines (label -> x and y) between 0 and 1.

    Args:
        axes_of: the labels of the x and the y axis.
        diagonal: whether to draw what chance would give.
        marks: where vertical lines stand, such as thresholds.
    """
    with _style():
        figure, (axes,) = _axes()
        if diagonal:
            axes.plot([0, 1], [0, 1], color=_MUTED, linestyle="--", linewidth=1, label="by chance")
        for (label, (x, y)), colour in zip(lines.items(), (_BLUE, _ORANGE), strict=False):
            axes.plot(*_points(x, y), color=colour, label=label)
        for mark in marks:
            axes.axvline(mark, color=_MUTED, linestyle=":", linewidth=1.2, label=f"threshold {mark:.2f}")
        axes.set(xlabel=axes_of[0], ylabel=axes_of[1], xlim=(-0.02, 1.02), ylim=(-0.02, 1.04))
        axes.legend(fontsize=8, loc="best")
        return _svg(figure, name, f"{axes_of[1]} over {axes_of[0]}")


def draw_sizes(name: str, width: Sequence[float], height: Sequence[float], count: Sequence[float]) -> str:
    """Draw width and height of images: a dot a size, whose area is its share of the images."""
    share = np.asarray(count, dtype=float) / max(1, sum(count))
    with _style():
        figure, (axes,) = _axes()
        axes.scatter(width, height, s=8 + 300 * share, color=_BLUE, alpha=0.45, linewidths=0)
        axes.set(xlabel="width in pixels", ylabel="height in pixels")
        for limits, values in ((axes.set_xlim, width), (axes.set_ylim, height)):
            limits(0, 1.08 * max(values))
        return _svg(figure, name, "Width and height of the images before they were stored")


def draw_reliability(
    name: str,
    confidence: Sequence[float],
    accuracy: Sequence[float],
    count: Sequence[float],
    intervals: Sequence[tuple[float, float]],
) -> str:
    """Draw accuracy over confidence: a dot a bin with its interval, whose area is its share of the images.

    Args:
        count: images in each bin, not 0.
    """
    share = np.asarray(count, dtype=float) / sum(count)
    with _style():
        figure, (axes,) = _axes()
        axes.plot([0, 1], [0, 1], color=_MUTED, linestyle="--", linewidth=1, label="perfectly calibrated")
        axes.plot(confidence, accuracy, color=_BLUE, label="this model")
        axes.vlines(confidence, *zip(*intervals, strict=True), color=_BLUE, alpha=0.5, linewidth=1)
        axes.scatter(confidence, accuracy, s=20 + 300 * share, color=_BLUE, alpha=0.5, linewidths=0)
        axes.set(xlabel="confidence", ylabel="accuracy", xlim=(0, 1.04), ylim=(0, 1.04))
        axes.legend(fontsize=8, loc="upper left")
        return _svg(figure, name, "Accuracy over confidence")


def _style() -> Any:
    import matplotlib

    return matplotlib.rc_context(_STYLE)


def _axes(columns: int = 1, rows: Sequence[int] = (1,)) -> "tuple[Figure, list[Axes]]":
    """Make a figure of panels side by side, or of `rows` of these relative heights over one x axis."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(_WIDTH, _HEIGHT if len(rows) == 1 else _HEIGHT + 0.8))
    ratios = {"height_ratios": list(rows)}
    return figure, list(figure.subplots(len(rows), columns, sharex="col", gridspec_kw=ratios, squeeze=False).flat)


def _points(x: Sequence[float], y: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """Return the finite points of a line, thinned evenly to a number the eye can use; the ends stay."""
    x, y = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    finite = np.flatnonzero(np.isfinite(x) & np.isfinite(y))
    if len(finite) > _MOST_POINTS:
        finite = finite[np.linspace(0, len(finite) - 1, _MOST_POINTS).round().astype(int)]
    return x[finite], y[finite]


def _power_of_ten(value: float, _: int) -> str:
    return "10" + str(round(np.log10(value))).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))


def _svg(figure: "Figure", name: str, description: str) -> str:
    """Return the figure as one element: no prolog, metadata and size, ids prefixed, colours CSS variables."""
    stream = io.StringIO()
    figure.savefig(stream, format="svg", metadata={"Date": None})
    text = stream.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>", "", text, flags=re.DOTALL)
    head = re.search(r'viewBox="[^"]*"', text[: text.index(">")])[0]
    text = f'<svg {head} role="img" aria-label="{description}">' + text[text.index(">") + 1 :]
    text = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{name}-", text)
    for colour, variable in _CSS.items():
        text = text.replace(colour, f"var({variable})")
    return text.replace("'DejaVu Sans'", "system-ui, sans-serif").strip()
