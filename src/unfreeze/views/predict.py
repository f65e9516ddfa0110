"""Rows to batches to logits."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from unfreeze.core.arrays import blocks, scratch
from unfreeze.device.prefetch import map_batches

Batch = Tensor | tuple[Tensor, ...]
"""What a module takes: features, or images, or images with numbers beside them."""

Inputs = Callable[[np.ndarray, int], Batch]
"""(rows, epoch) -> what the module takes for these rows, on the device."""


def forward(model: nn.Module, batch: Batch) -> Tensor:
    """Run `model` on a batch."""
    return model(*batch) if isinstance(batch, tuple) else model(batch)


@dataclass(frozen=True)
class Predictor:
    """A model with what its predictions need."""

    fabric: Fabric
    model: nn.Module
    inputs: Inputs
    batch_size: int

    def predict(self, rows: np.ndarray, epoch: int = 0, advance: Callable[[int], object] | None = None) -> Tensor:
        """Return the logits of `rows` in their order, float32 `[len(rows), C]` on the CPU, in evaluation mode.

        Several ranks share out the batches. These are the batches of one rank and so give the same bits. All ranks
        get the logits of all rows.

        Args:
            epoch: handed to the inputs.
            advance: is called after each batch with how many rows were predicted since the last call.
        """
        [logits] = self.predict_blocks([rows], epoch, advance)
        return logits

    def predict_blocks(
        self, blocks: Sequence[np.ndarray], epoch: int = 0, advance: Callable[[int], object] | None = None
    ) -> Iterator[Tensor]:
        """Yield what `predict` returns for each of `blocks` of rows, without a pause between them."""
        fabric, size = self.fabric, self.batch_size
        self.model.eval()
        batches_of = [[rows[start : start + size] for start in range(0, len(rows), size)] for rows in blocks]
        own = batches_of
        if fabric.world_size > 1:
            from unfreeze.device.ranks import gather, share_out

            ranks, rank = fabric.world_size, fabric.global_rank
            shared = [[batches[part] for part in share_out(len(batches), ranks)] for batches in batches_of]
            # A rank without a batch predicts the first one, to know the shape.
            own = [each[rank] or batches[:1] for each, batches in zip(shared, batches_of, strict=True)]

        def read(batch: np.ndarray) -> Batch:
            return self.inputs(batch, epoch)

        def compute(batch: Batch) -> Tensor:
            with torch.no_grad(), fabric.autocast():  # which hold for one thread
                return forward(self.model, batch).float()

        with map_batches(fabric.device, read, compute, list(chain(*own))) as results:
            for i, batches in enumerate(own):
                logits, first = torch.empty(0), 0
                for part in islice(results, len(batches)):
                    if not first:  # one tensor: pieces kept between activations would take the heap apart
                        shape = (sum(map(len, batches)), *part.shape[1:])
                        logits = torch.empty(shape, pin_memory=part.is_cuda)
                    logits[first : first + len(part)].copy_(part, non_blocking=True)  # the GPU goes on meanwhile
                    first += len(part)
                    if advance:
                        advance(len(part) * fabric.world_size)  # the other ranks are about as far
                if fabric.device.type == "cuda":
                    torch.cuda.current_stream(fabric.device).synchronize()
                if fabric.world_size > 1:
                    counts = [sum(map(len, part)) for part in shared[i]]
                    logits = gather(logits[: counts[fabric.global_rank]].to(fabric.device), counts).cpu()
                yield logits


def predict_probabilities(
    predict: Callable[[np.ndarray], Tensor],
    rows: np.ndarray,
    classes: int,
    activate: Callable[[Tensor], np.ndarray],
) -> np.ndarray:
    """Return the probabilities of `rows`, whose logits are asked for a block at a time.

    Args:
        predict: returns the logits `[B, C]` of some rows.
        activate: turns logits into probabilities (`Task.activate`).

    Returns:
        float64 `[len(rows), classes]`, in an array that need not fit into memory.
    """
    probabilities = scratch((len(rows), classes), np.float64)
    for block in blocks(len(rows), classes):
        if len(rows[block]):
            probabilities[block] = activate(predict(rows[block]))
    return probabilities
