"""Data problems worth a look: labels that may be wrong, near duplicates across the split, and outliers.

Features are compared as directions from their mean. They are first projected on `WIDTH` random directions, which
keeps small distances small (Johnson and Lindenstrauss 1984), so that 100,000 images take seconds; what is listed
is computed again from all features.
"""

from collections.abc import Callable, Iterator

import numpy as np

from unfreeze import draws
from unfreeze.report.charts import Table
from unfreeze.report.galleries import HeldOut, Predictions

WIDTH = 64
BLOCK = 256
"""Rows that are compared at a time."""
REFERENCES = 4096
"""Images that an outlier is far from all of."""
ALIKE = 0.95
"""From this similarity on two images count as near duplicates: 1 is the same, 0 has nothing in common."""
MOST, MOST_OUTLIERS = 1000, 100
"""Lines of a list."""
COLUMNS = {
    "label_errors": ["row", "path", "split", "label", "likely", "p_label", "p_likely"],
    "label_errors_of_several": ["row", "path", "split", "label", "suspect", "has_it", "probability"],
    "near_duplicates": ["row", "path", "split", "label", "similar_to", "similar_row", "similarity"],
    "outliers": ["row", "path", "split", "label", "similarity"],
}
MARGIN = 0.1
"""By which a projection may show less of it."""


def label_errors(probabilities: np.ndarray, labels: np.ndarray) -> list[tuple[int, int, int]]:
    """(position, label, likely label) by confident learning (Northcutt et al. 2021), the most likely errors first.

    An image is suspect if another class than its label is as probable as it usually is for images of that class,
    and of such classes the most probable. The first have the lowest probability of their label.

    Args:
        probabilities: `[N, C]`, by a model that was not trained on these images.
        labels: int64 `[N]` in 0..C-1.
    """
    classes = probabilities.shape[1]
    own = probabilities[np.arange(len(labels)), labels]
    count = np.bincount(labels, minlength=classes)
    usual = np.bincount(labels, own, classes) / np.maximum(count, 1)
    confident = np.where((probabilities >= usual) & (count > 0), probabilities, -1)
    likely = confident.argmax(1)
    suspect = np.flatnonzero((confident.max(1) >= 0) & (likely != labels))
    order = suspect[np.argsort(own[suspect], kind="stable")]
    return [(int(i), int(labels[i]), int(likely[i])) for i in order]


def label_errors_of_several(probabilities: np.ndarray, labels: np.ndarray) -> list[tuple[int, int, bool]]:
    """The same of several labels an image: (position, label, whether it has it), each label for itself: there is
    one class of images that have it and one of those that do not.

    Args:
        labels: 0 or 1 `[N, C]`.
    """
    had = labels > 0
    count = had.sum(0)
    usual = np.where(had, probabilities, 0).sum(0) / np.maximum(count, 1)
    usual_without = np.where(had, 0, probabilities).sum(0) / np.maximum(len(labels) - count, 1)
    wrongly_lacking = ~had & (probabilities >= usual) & (probabilities > 0.5)
    wrongly_given = had & (probabilities <= usual_without) & (probabilities < 0.5)
    gap = np.where(had, 1 - probabilities, probabilities)
    suspect = np.argwhere((wrongly_lacking | wrongly_given) & (count > 0))
    order = np.argsort(-gap[tuple(suspect.T)], kind="stable")
    return [(int(i), int(c), bool(had[i, c])) for i, c in suspect[order]]


class Directions:
    """Features `[N, F]` (may be a memory map) as directions from the mean of the rows `reference`."""

    def __init__(self, features: np.ndarray, reference: np.ndarray, seed: int) -> None:
        generator = draws.generator(seed, "report", "directions")
        some = np.sort(generator.permutation(reference)[:REFERENCES])
        self.features = features
        self.mean = features[some].mean(0, dtype=np.float64)
        self._projection = generator.standard_normal((features.shape[1], WIDTH))
        self.references = some

    def projected(self, rows: np.ndarray) -> np.ndarray:
        """Unit vectors float64 `[len(rows), WIDTH]`."""
        blocks = [(self.features[block] - self.mean) @ self._projection for block in _blocks(rows)]
        return _units(np.concatenate(blocks)) if blocks else np.zeros((0, WIDTH))

    def similarity(self, one: int, other: int) -> float:
        """The cosine between two images, of all features."""
        a, b = (_units((self.features[row] - self.mean)[None])[0] for row in (one, other))
        return round(float(a @ b), 6)


def near_duplicates(
    directions: Directions, held_out: np.ndarray, train: np.ndarray
) -> list[tuple[int, int, float]]:
    """(held-out row, training row, similarity) of the pairs that are `ALIKE`, the most alike first: each row of
    `held_out` with the nearest of `train`."""
    if not len(train) or not len(held_out):
        return []
    others = directions.projected(train).T
    roughly = others.astype(np.float32)  # twice as fast; the margin forgives it
    pairs = []
    for block in _blocks(held_out):
        directed = directions.projected(block)
        near = np.flatnonzero((directed.astype(np.float32) @ roughly).max(1) >= ALIKE - MARGIN)
        nearest = np.round(directed[near] @ others, 6).argmax(1)  # rounded: no noise decides a tie
        pairs += [(int(block[i]), int(train[k])) for i, k in zip(near, nearest, strict=True)]
    found = [(one, other, directions.similarity(one, other)) for one, other in pairs]
    return sorted((pair for pair in found if pair[2] >= ALIKE), key=lambda pair: (-pair[2], pair[0]))


def outliers(directions: Directions, rows: np.ndarray, most: int) -> list[tuple[int, float]]:
    """(row, similarity to the most similar of REFERENCES training images) of the `most` rows that are least like
    any other."""
    if len(directions.references) < 2:
        return []
    references = directions.projected(directions.references)
    nearest = []
    for block in _blocks(rows):
        alike = directions.projected(block) @ references.T
        alike[block[:, None] == directions.references] = -1  # not itself
        nearest.append(np.round(alike.max(1), 6))
    found = np.concatenate(nearest) if nearest else np.zeros(0)
    order = np.argsort(found, kind="stable")[:most]
    return [(int(rows[i]), float(found[i])) for i in order]


def landscape(directions: Directions, rows: np.ndarray, seed: int) -> np.ndarray:
    """Where `rows` lie on the two principal components of the reference images: float64 `[len(rows), 2]`, each
    component within -1 to 1, so that its largest coordinate is positive.

    The components are found by subspace iteration (Halko et al. 2011), which takes no square matrix.
    """
    base = directions.features[directions.references[:1000]] - directions.mean
    axes = draws.generator(seed, "report", "landscape").standard_normal((base.shape[1], min(8, base.shape[1])))
    for _ in range(20):
        axes = np.linalg.qr(base.T @ (base @ axes))[0]
    _, _, turn = np.linalg.svd(base @ axes, full_matrices=False)
    axes = (axes @ turn.T)[:, :2]
    found = np.concatenate([(directions.features[block] - directions.mean) @ axes for block in _blocks(rows)])
    extreme = found[np.abs(found).argmax(0), [0, 1]]
    return np.round(found / np.where(extreme == 0, 1, extreme), 4) + 0.0


def _units(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def _blocks(rows: np.ndarray) -> Iterator[np.ndarray]:
    for start in range(0, len(rows), BLOCK):
        yield rows[start : start + BLOCK]


def tables(
    shown: Predictions, held_out: HeldOut, split: Table, features: np.ndarray, seed: int
) -> dict[str, Table]:
    """The three lists by name, each line with row, path, split and label, and what is odd about it.

    Args:
        shown: predictions of validation and test.
        held_out: those of training images by heads that did not see them; may be empty.
        features: float32 `[M, F]` of all images; without rows there are no near duplicates and outliers.
    """
    lines = {int(line["row"]): line for line in split}

    def line_of(row: int, **odd: object) -> dict[str, str]:
        line = lines[row]
        label = line["label"] if "label" in line else line["labels"]
        known = {"row": row, "path": line["path"], "split": line["split"], "label": label}
        return {key: str(value) for key, value in (known | odd).items()}

    found: dict[str, Table] = {"label_errors": _label_errors(shown, held_out, line_of)}
    train = np.array([row for row, line in lines.items() if line["split"] == "train"], dtype=np.int64)
    others = np.array([row for row, line in lines.items() if line["split"] in ("valid", "test")], dtype=np.int64)
    found |= {"near_duplicates": [], "outliers": []}
    if len(features) and len(train):
        directions = Directions(features, train, seed)
        found["near_duplicates"] = [
            line_of(one, similar_to=lines[other]["path"], similar_row=other, similarity=alike)
            for one, other, alike in near_duplicates(directions, others, train)[:MOST]
        ]
        everyone = np.sort(np.concatenate([train, others]))
        found["outliers"] = [
            line_of(row, similarity=alike) for row, alike in outliers(directions, everyone, MOST_OUTLIERS)
        ]
    return found


def _label_errors(shown: Predictions, held_out: HeldOut, line_of: Callable[..., dict[str, str]]) -> Table:
    labelled = shown.take(np.flatnonzero(shown.labelled))
    extra = ~np.isin(held_out.row, labelled.row)  # validation rows have better predictions by now
    row = np.concatenate([labelled.row, held_out.row[extra]])
    actual = np.concatenate([labelled.actual, held_out.actual[extra]])
    p = np.concatenate([labelled.probabilities, held_out.probabilities[extra]]).astype(np.float64)
    names = shown.classes
    if shown.multi:
        return [
            line_of(int(row[i]), suspect=names[c], has_it="yes" if had else "no", probability=round(p[i, c], 6))
            for i, c, had in label_errors_of_several(p, actual)[:MOST]
        ]
    return [
        line_of(int(row[i]), likely=names[k], p_label=round(p[i, own], 6), p_likely=round(p[i, k], 6))
        for i, own, k in label_errors(p, actual)[:MOST]
    ]
