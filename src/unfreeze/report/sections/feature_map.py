"""A map of the features: images that look alike to the backbone are near to each other."""

from typing import Any

import numpy as np

from unfreeze.report.galleries import count_mistakes, order_for_search
from unfreeze.report.results import Results
from unfreeze.report.similarity import Directions, project_on_components
from unfreeze.task.predictions import Predictions

MOST_BEHIND = 1500
"""Training images behind the others."""
COLOURS = 10
"""Classes that have a colour of their own in the style sheet."""
MARGIN, WIDTH, HEIGHT = 20, 960, 600
"""Of the points, in an area of 1000 x 640."""


def build(results: Results, shown: Predictions, count: int, seed: int) -> dict[str, Any] | None:
    """Build the map of the first `count` images to search, and of some training images behind them.

    Returns:
        points (x, y, index of the first class or -1, whether it is wrong); None without features.
    """
    split = results.split
    train = split.index[split["split"] == "train"].to_numpy()
    if not len(results.features) or not len(train) or not count:
        return None
    front = order_for_search(shown)[:count]
    behind = train[:: max(1, len(train) // MOST_BEHIND)][:MOST_BEHIND]
    rows = np.concatenate([shown.row[front], behind])
    places = project_on_components(Directions(results.features, train, seed), rows, seed)
    low, high = places.min(0), places.max(0)
    x, y = np.round(MARGIN + (places - low) / np.maximum(high - low, 1e-9) * (WIDTH, HEIGHT), 1).T.tolist()
    index = {name: i for i, name in enumerate(shown.classes)}
    names = [shown.task.names(label)[:1] for label in split.loc[rows, "label"]]
    colours = [index.get(name[0], -1) if name else -1 for name in names]
    points = list(zip(x, y, colours, strict=True))
    wrong = (count_mistakes(shown) > 0)[front].tolist()
    return {
        "front": [(*point, bad) for point, bad in zip(points[: len(front)], wrong, strict=True)],
        "behind": points[len(front) :],
        "few": len(shown.classes) <= COLOURS,
    }
