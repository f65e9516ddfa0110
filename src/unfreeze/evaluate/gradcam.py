"""Where the network looked: Grad-CAM (Selvaraju et al. 2017) of the images that it got most wrong or is least sure
of.

The last maps of the backbone are weighed by the gradient of a class's logit. Of a ViT the maps are its tokens but
for the class token: what they show is the part of the decision that their average takes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from unfreeze.data.store import span, write_array
from unfreeze.data.table import SplitTable
from unfreeze.evaluate import metrics
from unfreeze.files import read_table, write_csv

if TYPE_CHECKING:
    from pathlib import Path

    import torch

    from unfreeze.model.network import Network
    from unfreeze.train.augment import Images

MOST = 16
"""Images of each kind."""
COARSE = 3
"""Places a side that a map needs to say where."""
DOUBT = 0.2
"""The uncertainty from which on an image counts as uncertain."""


def worth_a_look(
    table: SplitTable, rows: np.ndarray, probabilities: np.ndarray, uncertainty: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Rows `[M]`, and two classes of each `[M, 2]`: what it was taken for, and what it is (or the runner-up).

    They are the most wrong and then the most uncertain images of the test split, or of validation where no test
    image has labels. Of several labels an image these are the two whose probability is most wrong.
    """
    part = "test" if len(table.labelled("test")) else "valid"
    chosen = np.flatnonzero(np.isin(rows, table.labelled(part)))
    targets, p = table.targets[rows[chosen]], probabilities[span(chosen)]
    if table.multi:
        gap = np.abs(p - targets)
        wrong, two = gap.max(1), metrics.top_classes(gap, 2)
    else:
        own, two = p[np.arange(len(p)), targets], metrics.top_classes(p, 2)
        wrong = np.where(two[:, 0] == targets, -1.0, 1 - own)
        two[:, 1] = np.where(two[:, 0] == targets, two[:, 1], targets)
    first = [i for i in np.argsort(-wrong, kind="stable")[:MOST] if wrong[i] > 0]
    by_doubt = np.argsort(-uncertainty[chosen], kind="stable")
    unsure = [i for i in by_doubt if i not in first and uncertainty[chosen[i]] > DOUBT][:MOST]
    order = np.array([*first, *unsure], dtype=np.int64)
    return rows[chosen[order]], two[order]


def looked_at(network: Network, images: Images, rows: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """For each of `rows` and each of its classes `[M, K]` how much each place of the plain view spoke for it:
    uint8 `[M, K, h, w]`, 255 the most."""
    import torch

    from unfreeze.model.backbone import pool

    found = []
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
            found.append(_weighed(maps.detach(), slope))
    if not found:
        return np.zeros((0, classes.shape[1], 1, 1), np.uint8)
    return np.stack(found).reshape(*classes.shape, *found[0].shape)


def _weighed(maps: torch.Tensor, slope: torch.Tensor) -> np.ndarray:
    """The sum of one image's maps, each weighed by the mean of its slope, where positive: uint8 `[h, w]`."""
    if maps.ndim == 3:
        side = round((maps.shape[1] - 1) ** 0.5)
        maps, slope = (each[:, 1:].transpose(1, 2).unflatten(2, (side, side)) for each in (maps, slope))
    heat = (maps * slope.mean((2, 3), keepdim=True)).sum(1)[0].clamp(min=0).double().cpu().numpy()
    return np.rint(255 * heat / max(heat.max(), 1e-12)).astype(np.uint8)


def write_looked_at(
    folder: Path, table: SplitTable, network: Network, images: Images, rows: np.ndarray, probabilities: np.ndarray
) -> None:
    """Write gradcam.npy and gradcam.csv of the images worth a look; predictions.csv is there already."""
    written = read_table(folder / "predictions.csv", ["uncertainty"]).columns["uncertainty"]
    uncertainty = np.fromiter(map(float, written), np.float64, len(written))
    chosen, classes = worth_a_look(table, rows, probabilities, uncertainty)
    write_array(folder / "gradcam.npy", looked_at(network, images, chosen, classes))
    names = [[table.classes[k] for k in pair] for pair in classes.tolist()]
    lines = ([int(row), *pair] for row, pair in zip(chosen, names, strict=True))
    write_csv(folder / "gradcam.csv", ["row", "first", "second"], lines)
