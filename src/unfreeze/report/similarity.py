"""Which images are alike: near duplicates, outliers, and a map, from the features of the frozen backbone.

Features are compared as directions from their mean. They are first projected on `WIDTH` random directions, which
keeps small distances small (Johnson and Lindenstrauss 1984), so that 100,000 images take seconds; what is listed
is computed again from all features. Of more images the approximate nearest neighbours are sought (IVF, an inverted
file: Sivic and Zisserman 2003): only those are compared that are alike to the same pivots.
"""

from collections.abc import Iterator

import numpy as np

from unfreeze.core import draws

WIDTH = 64
ROWS_AT_ONCE, COLUMNS_AT_ONCE = 256, 16_384
"""Rows that are compared at a time, with so many others."""
PROBED_AT_ONCE = 262_144
"""Rows that are sorted by their pivots at a time."""
MOST_PAIRS = 2**32
"""Up to so many pairs all are compared: a minute or two."""
PROBES = 8
"""Pivots near a held-out image with whose training images it is compared."""
REFERENCES = 4096
"""Images that an outlier is far from all of."""
ALIKE = 0.95
"""From this similarity on two images count as near duplicates: 1 is the same, 0 has nothing in common."""
MARGIN = 0.1
"""By which a projection may show less of it."""
MAPPED = 1000
"""Reference images whose principal components make the map."""


class Directions:
    """Features `[N, F]` (may be a memory map) as directions from the mean of the rows `reference`."""

    def __init__(self, features: np.ndarray, reference: np.ndarray, seed: int) -> None:
        generator = draws.generator(seed, "report", "directions")
        self.references = np.sort(generator.permutation(reference)[:REFERENCES])
        self.features = features
        self.mean = features[self.references].mean(0, dtype=np.float64)
        self._projection = generator.standard_normal((features.shape[1], WIDTH))

    def project(self, rows: np.ndarray) -> np.ndarray:
        """Return unit vectors float64 `[len(rows), WIDTH]`."""
        vectors = [(self.features[batch] - self.mean) @ self._projection for batch in _batches(rows)]
        return _normalise(np.concatenate(vectors)) if vectors else np.zeros((0, WIDTH))

    def compare(self, rows: np.ndarray, others: np.ndarray) -> np.ndarray:
        """Return the cosines between the images `rows[i]` and `others[i]`, of all features: float64 `[N]`."""
        cosines = []
        for batch, other_batch in zip(_batches(rows), _batches(others), strict=True):
            one, other = (_normalise(self.features[each] - self.mean) for each in (batch, other_batch))
            cosines.append(np.round((one * other).sum(1), 6))
        return np.concatenate(cosines) if cosines else np.zeros(0)


def find_near_duplicates(
    directions: Directions, held_out: np.ndarray, train: np.ndarray
) -> list[tuple[int, int, float]]:
    """Return (held-out row, training row, similarity) of the pairs that are `ALIKE`, the most alike first.

    Each row of `held_out` is paired with the nearest of `train`.
    """
    if not len(train) or not len(held_out):
        return []
    search = _search_all if len(held_out) * len(train) <= MOST_PAIRS else _search_by_pivots
    nearest, similarity = search(directions, held_out, train)
    near = np.flatnonzero(similarity > -2)
    rows, others = held_out[near], train[nearest[near]]
    cosine = directions.compare(rows, others)
    order = [i for i in np.lexsort((rows, -cosine)) if cosine[i] >= ALIKE]
    return [(int(rows[i]), int(others[i]), float(cosine[i])) for i in order]


def _search_all(directions: Directions, rows: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Find the nearest of `others` for each of `rows`.

    Returns:
        its place in `others`, and how alike the two are in the projection; -2 where that is too little to be
        `ALIKE`.
    """
    nearest, similarity = np.zeros(len(rows), np.int64), np.full(len(rows), -2.0)
    for first in range(0, len(others), COLUMNS_AT_ONCE):
        columns = directions.project(others[first : first + COLUMNS_AT_ONCE]).T
        rough = columns.astype(np.float32)  # twice as fast; the margin forgives it
        for start in range(0, len(rows), ROWS_AT_ONCE):
            vectors = directions.project(rows[start : start + ROWS_AT_ONCE])
            near = np.flatnonzero((vectors.astype(np.float32) @ rough).max(1) >= ALIKE - MARGIN)
            cosines = np.round(vectors[near] @ columns, 6)  # rounded: no noise decides a tie
            best = cosines.argmax(1)
            value = cosines[np.arange(len(near)), best]
            better, near = value > similarity[start + near], start + near
            nearest[near[better]], similarity[near[better]] = first + best[better], value[better]
    return nearest, similarity


def _search_by_pivots(
    directions: Directions, rows: np.ndarray, others: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Find the nearest as `_search_all` does, nearly always, in time that grows little faster than the images.

    Some of `others` are pivots, and each of them goes to the pivot that it is most like. A row is compared with
    those of the PROBES pivots that it is most like, where what is nearly the same nearly always is.
    """
    step = max(1, round(len(others) ** 0.5))
    pivots = directions.project(others[step // 2 :: step]).T
    home = np.concatenate([(directions.project(batch) @ pivots).argmax(1) for batch in _batches(others)])
    members = np.argsort(home, kind="stable")
    ends = np.searchsorted(home[members], np.arange(pivots.shape[1] + 1))
    nearest, similarity = np.zeros(len(rows), np.int64), np.full(len(rows), -2.0)
    for start in range(0, len(rows), PROBED_AT_ONCE):
        block = rows[start : start + PROBED_AT_ONCE]
        probes = np.concatenate([
            np.argpartition(directions.project(batch) @ -pivots, PROBES - 1, axis=1)[:, :PROBES].astype(np.int32)
            for batch in _batches(block)
        ])  # fmt: skip
        visits = np.argsort(probes, axis=None, kind="stable")  # by pivot
        starts = np.searchsorted(probes.ravel()[visits], np.arange(pivots.shape[1] + 1))
        for pivot in range(pivots.shape[1]):
            inside = members[ends[pivot] : ends[pivot + 1]]
            visitors = visits[starts[pivot] : starts[pivot + 1]] // PROBES
            if len(inside) and len(visitors):
                place, value = _search_all(directions, block[visitors], others[inside])
                better, visitors = value > similarity[start + visitors], start + visitors
                nearest[visitors] = np.where(better, inside[place], nearest[visitors])
                similarity[visitors] = np.where(better, value, similarity[visitors])
    return nearest, similarity


def find_outliers(directions: Directions, rows: np.ndarray, most: int) -> list[tuple[int, float]]:
    """Return (row, similarity) of the `most` rows that are least like any other.

    The similarity is that to the most similar of REFERENCES training images.
    """
    if len(directions.references) < 2:
        return []
    references = directions.project(directions.references)
    nearest = []
    for batch in _batches(rows):
        cosines = directions.project(batch) @ references.T
        cosines[batch[:, None] == directions.references] = -1  # not itself
        nearest.append(np.round(cosines.max(1), 6))
    similarity = np.concatenate(nearest) if nearest else np.zeros(0)
    order = np.argsort(similarity, kind="stable")[:most]
    return [(int(rows[i]), float(similarity[i])) for i in order]


def project_on_components(directions: Directions, rows: np.ndarray, seed: int) -> np.ndarray:
    """Return where `rows` lie on the two principal components of the reference images: float64 `[len(rows), 2]`.

    Each component is within -1 to 1, and its largest coordinate is positive. The components are computed by
    subspace iteration (Halko et al. 2011), which takes no square matrix.
    """
    base = directions.features[directions.references[:MAPPED]] - directions.mean
    axes = draws.generator(seed, "report", "landscape").standard_normal((base.shape[1], min(8, base.shape[1])))
    for _ in range(20):
        axes = np.linalg.qr(base.T @ (base @ axes))[0]
    _, _, turn = np.linalg.svd(base @ axes, full_matrices=False)
    axes = (axes @ turn.T)[:, :2]
    places = np.concatenate([(directions.features[batch] - directions.mean) @ axes for batch in _batches(rows)])
    extreme = places[np.abs(places).argmax(0), [0, 1]]
    return np.round(places / np.where(extreme == 0, 1, extreme), 4) + 0.0


def _normalise(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def _batches(rows: np.ndarray) -> Iterator[np.ndarray]:
    for start in range(0, len(rows), ROWS_AT_ONCE):
        yield rows[start : start + ROWS_AT_ONCE]
