"""Where the network looked: Grad-CAM (Selvaraju et al. 2017) of the images that it got most wrong or is least sure
of.

The last maps of the backbone are weighed by the gradient of a class's logit. Of a ViT the maps are its tokens but
for the class token: what they show is the part of the decision that their average takes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from unfreeze.core import tables
from unfreeze.core.arrays import span, write_array
from unfreeze.evaluate.results import Evaluation
from unfreeze.task.split_table import SplitTable

if TYPE_CHECKING:
    from pathlib import Path

    import torch

    from unfreeze.model.network import Network
    from unfreeze.views.images import Images

MOST = 16
"""Images of each kind."""
COARSE = 3
"""Places a side that a map needs to say where."""
DOUBT = 0.2
"""The uncertainty from which on an image counts as uncertain."""


def choose_images(
    table: SplitTable, rows: np.ndarray, probabilities: np.ndarray, uncertainty: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Choose the most wrong and then the most uncertain images of the test split, or of validation where no test
    image has labels.

    Returns:
        rows: int64 `[M]`.
        classes: int64 `[M, 2]`, the two that tell why (see `Task.rank_mistakes`).
    """
    part = "test" if len(table.labelled("test")) else "valid"
    chosen = np.flatnonzero(np.isin(rows, table.labelled(part)))
    wrong, two = table.task.rank_mistakes(probabilities[span(chosen)], table.targets[rows[chosen]])
    first = [i for i in np.argsort(-wrong, kind="stable")[:MOST] if wrong[i] > 0]
    by_doubt = np.argsort(-uncertainty[chosen], kind="stable")
    unsure = [i for i in by_doubt if i not in first and uncertainty[chosen[i]] > DOUBT][:MOST]
    order = np.array([*first, *unsure], dtype=np.int64)
    return rows[chosen[order]], two[order]


def compute_heat(network: Network, images: Images, rows: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Compute how much each place of the plain view of each of `rows` spoke for each of its classes `[M, K]`.

    Returns:
        uint8 `[M, K, h, w]`, 255 the most.
    """
    import torch

    from unfreeze.model.pool import pool

    heat = []
    for row, wanted in zip(rows, classes, strict=True):
        views = images.plain(np.array([row]))
        views, numbers = views if isinstance(views, tuple) else (views, None)
        with torch.no_grad():
            early = network.early((views - network.mean) / network.std)
        late = network.late(early.requires_grad_(True))
        # Small images leave the late group a place or four: then the maps below it say where.
        coarse = late.ndim == 4 and late.shape[-1] < COARSE and early.shape[-1] == early.shape[-2]
        maps = early if coarse else late
        features = pool(late)
        logits = network.head(features if numbers is None else torch.cat([features, numbers], dim=1))
        for k in wanted.tolist():
            (slope,) = torch.autograd.grad(logits[0, k], maps, retain_graph=True)
            heat.append(_weigh(maps.detach(), slope))
    if not heat:
        return np.zeros((0, classes.shape[1], 1, 1), np.uint8)
    return np.stack(heat).reshape(*classes.shape, *heat[0].shape)


def _weigh(maps: torch.Tensor, slope: torch.Tensor) -> np.ndarray:
    """Sum one image's maps, each weighed by the mean of its slope, where positive: uint8 `[h, w]`."""
    if maps.ndim == 3:
        side = round((maps.shape[1] - 1) ** 0.5)
        maps, slope = (each[:, 1:].transpose(1, 2).unflatten(2, (side, side)) for each in (maps, slope))
    heat = (maps * slope.mean((2, 3), keepdim=True)).sum(1)[0].clamp(min=0).double().cpu().numpy()
    return np.rint(255 * heat / max(heat.max(), 1e-12)).astype(np.uint8)


def write_gradcam(folder: Path, evaluation: Evaluation, network: Network, images: Images) -> None:
    """Write gradcam.npy and gradcam.csv of the images that are worth a look."""
    table, probabilities = evaluation.table, evaluation.final
    uncertainty = table.task.uncertainty(probabilities, evaluation.final_thresholds)
    rows, classes = choose_images(table, evaluation.rows, probabilities, uncertainty)
    write_array(folder / "gradcam.npy", compute_heat(network, images, rows, classes))
    names = [[table.classes[k] for k in pair] for pair in classes.tolist()]
    lines = ([int(row), *pair] for row, pair in zip(rows, names, strict=True))
    tables.write_rows(folder / "gradcam.csv", ["row", "first", "second"], lines)
