"""Data problems worth a look: labels that may be wrong, near duplicates across the split, and outliers.

Features are compared as directions from their mean. They are first projected on `WIDTH` random directions, which
keeps small distances small (Johnson and Lindenstrauss 1984), so that 100,000 images take seconds; what is listed
is computed again from all features. Of more images only those are compared that are alike to the same pivots.
"""

from collections.abc import Callable, Iterator

import numpy as np

from unfreeze import draws
from unfreeze.data.store import blocks, scratch
from unfreeze.data.table import PARTS
from unfreeze.report.charts import Table
from unfreeze.report.galleries import HeldOut, Predictions

WIDTH = 64
BLOCK, COLUMNS_AT_ONCE, ROWS_AT_ONCE = 256, 16_384, 262_144
"""Rows that are compared at a time, with so many others; and that are sorted by what they are compared with."""
MOST_PAIRS = 2**32
"""Up to so many pairs all are compared: a minute or two."""
PROBES = 8
"""Pivots near a held-out image with whose training images it is compared."""
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
    likely, found = np.zeros(len(labels), np.int64), np.zeros(len(labels), bool)
    for block in blocks(len(labels)):
        p = probabilities[block].astype(np.float64)
        confident = np.where((p >= usual) & (count > 0), p, -1)
        likely[block], found[block] = confident.argmax(1), confident.max(1) >= 0
    suspect = np.flatnonzero(found & (likely != labels))
    order = suspect[np.argsort(own[suspect], kind="stable")]
    return [(int(i), int(labels[i]), int(likely[i])) for i in order]


def label_errors_of_several(probabilities: np.ndarray, labels: np.ndarray) -> list[tuple[int, int, bool]]:
    """The same of several labels an image: (position, label, whether it has it), each label for itself: there is
    one class of images that have it and one of those that do not.

    Args:
        labels: 0 or 1 `[N, C]`.
    """
    count = (labels > 0).sum(0)
    usual, usual_without = np.zeros((2, labels.shape[1]))
    for block in blocks(len(labels)):
        p, had = probabilities[block].astype(np.float64), labels[block] > 0
        usual += np.where(had, p, 0).sum(0)
        usual_without += np.where(had, 0, p).sum(0)
    usual /= np.maximum(count, 1)
    usual_without /= np.maximum(len(labels) - count, 1)
    suspects, gaps = [], []
    for block in blocks(len(labels)):
        p, had = probabilities[block].astype(np.float64), labels[block] > 0
        wrongly_lacking = ~had & (p >= usual) & (p > 0.5)
        wrongly_given = had & (p <= usual_without) & (p < 0.5)
        suspect = np.argwhere((wrongly_lacking | wrongly_given) & (count > 0))
        gaps.append(np.where(had, 1 - p, p)[tuple(suspect.T)])
        suspects.append(suspect + np.array([block.start, 0]))
    suspect, order = np.concatenate(suspects), np.argsort(-np.concatenate(gaps), kind="stable")
    return [(int(i), int(c), bool(labels[i, c] > 0)) for i, c in suspect[order]]


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

    def similarity(self, some: np.ndarray, others: np.ndarray) -> np.ndarray:
        """The cosines between the images `some[i]` and `others[i]`, of all features."""
        cosines = []
        for a, b in zip(_blocks(some), _blocks(others), strict=True):
            one, other = (_units(self.features[rows] - self.mean) for rows in (a, b))
            cosines.append(np.round((one * other).sum(1), 6))
        return np.concatenate(cosines) if cosines else np.zeros(0)


def near_duplicates(
    directions: Directions, held_out: np.ndarray, train: np.ndarray
) -> list[tuple[int, int, float]]:
    """(held-out row, training row, similarity) of the pairs that are `ALIKE`, the most alike first: each row of
    `held_out` with the nearest of `train`."""
    if not len(train) or not len(held_out):
        return []
    nearest = _nearest if len(held_out) * len(train) <= MOST_PAIRS else _probably_nearest
    place, alike = nearest(directions, held_out, train)
    near = np.flatnonzero(alike > -2)
    one, other = held_out[near], train[place[near]]
    cosine = directions.similarity(one, other)
    order = [i for i in np.lexsort((one, -cosine)) if cosine[i] >= ALIKE]
    return [(int(one[i]), int(other[i]), float(cosine[i])) for i in order]


def _nearest(directions: Directions, rows: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of each of `rows` the place in `others` of the one that is most like it, and how alike the two are in the
    projection; -2 where that is too little to be `ALIKE`."""
    place, most = np.zeros(len(rows), np.int64), np.full(len(rows), -2.0)
    for first in range(0, len(others), COLUMNS_AT_ONCE):
        columns = directions.projected(others[first : first + COLUMNS_AT_ONCE]).T
        roughly = columns.astype(np.float32)  # twice as fast; the margin forgives it
        for start in range(0, len(rows), BLOCK):
            directed = directions.projected(rows[start : start + BLOCK])
            near = np.flatnonzero((directed.astype(np.float32) @ roughly).max(1) >= ALIKE - MARGIN)
            alike = np.round(directed[near] @ columns, 6)  # rounded: no noise decides a tie
            best = alike.argmax(1)
            value = alike[np.arange(len(near)), best]
            better, near = value > most[start + near], start + near
            place[near[better]], most[near[better]] = first + best[better], value[better]
    return place, most


def _probably_nearest(
    directions: Directions, rows: np.ndarray, others: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The same in time that grows little faster than the number of images.

    Some of `others` are pivots, and each of them goes to the pivot that it is most like. A row is compared with
    those of the PROBES pivots that it is most like, where what is nearly the same nearly always is.
    """
    step = max(1, round(len(others) ** 0.5))
    pivots = directions.projected(others[step // 2 :: step]).T
    home = np.concatenate([(directions.projected(block) @ pivots).argmax(1) for block in _blocks(others)])
    members = np.argsort(home, kind="stable")
    ends = np.searchsorted(home[members], np.arange(pivots.shape[1] + 1))
    place, most = np.zeros(len(rows), np.int64), np.full(len(rows), -2.0)
    for start in range(0, len(rows), ROWS_AT_ONCE):
        some = rows[start : start + ROWS_AT_ONCE]
        probed = np.concatenate([
            np.argpartition(directions.projected(block) @ -pivots, PROBES - 1, axis=1)[:, :PROBES].astype(np.int32)
            for block in _blocks(some)
        ])  # fmt: skip
        visits = np.argsort(probed, axis=None, kind="stable")  # by pivot
        starts = np.searchsorted(probed.ravel()[visits], np.arange(pivots.shape[1] + 1))
        for pivot in range(pivots.shape[1]):
            inside = members[ends[pivot] : ends[pivot + 1]]
            asked = visits[starts[pivot] : starts[pivot + 1]] // PROBES
            if len(inside) and len(asked):
                found, value = _nearest(directions, some[asked], others[inside])
                better, asked = value > most[start + asked], start + asked
                place[asked] = np.where(better, inside[found], place[asked])
                most[asked] = np.where(better, value, most[asked])
    return place, most


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
    rows = np.fromiter((int(line["row"]) for line in split), np.int64, len(split))
    part = np.fromiter((PARTS.index(line["split"]) for line in split), np.int8, len(split))
    trains = part == PARTS.index("train")
    order = np.argsort(rows, kind="stable")

    def line_of(row: int, **odd: object) -> dict[str, str]:
        line = split[order[np.searchsorted(rows, row, sorter=order)]]
        label = line["label"] if "label" in line else line["labels"]
        known = {"row": row, "path": line["path"], "split": line["split"], "label": label}
        return {key: str(value) for key, value in (known | odd).items()}

    found: dict[str, Table] = {"label_errors": _label_errors(shown, held_out, line_of)}
    train, others = rows[trains], rows[~trains]
    found |= {"near_duplicates": [], "outliers": []}
    if len(features) and len(train):
        directions = Directions(features, train, seed)
        found["near_duplicates"] = [
            line_of(one, similar_to=line_of(other)["path"], similar_row=other, similarity=alike)
            for one, other, alike in near_duplicates(directions, others, train)[:MOST]
        ]
        everyone = np.sort(np.concatenate([train, others]))
        found["outliers"] = [
            line_of(row, similarity=alike) for row, alike in outliers(directions, everyone, MOST_OUTLIERS)
        ]
    return found


def _label_errors(shown: Predictions, held_out: HeldOut, line_of: Callable[..., dict[str, str]]) -> Table:
    labelled = shown.labelled
    extra = ~np.isin(held_out.row, shown.row[labelled])  # validation rows have better predictions by now
    row = np.concatenate([shown.row[labelled], held_out.row[extra]])
    actual = np.concatenate([shown.actual[labelled], held_out.actual[extra]])
    p = _joined((shown.probabilities, labelled), (held_out.probabilities, extra))
    names = shown.classes

    def of(i: int, c: int) -> float:
        return round(float(p[i, c]), 6)

    if shown.multi:
        return [
            line_of(int(row[i]), suspect=names[c], has_it="yes" if had else "no", probability=of(i, c))
            for i, c, had in label_errors_of_several(p, actual)[:MOST]
        ]
    return [
        line_of(int(row[i]), likely=names[k], p_label=of(i, own), p_likely=of(i, k))
        for i, own, k in label_errors(p, actual)[:MOST]
    ]


def _joined(*parts: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """The chosen rows of each array `[N, C]`, one after the other, in a file: float32."""
    found = scratch((sum(int(chosen.sum()) for _, chosen in parts), parts[0][0].shape[1]), np.float32)
    end = 0
    for array, chosen in parts:
        rows = np.flatnonzero(chosen)
        for block in blocks(len(rows)):
            some = array[rows[block]]
            found[end : end + len(some)] = some
            end += len(some)
    return found
