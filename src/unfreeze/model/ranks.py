"""A network that several ranks train as one would: each is a process with a device of its own.

Whatever their number, a step is of the same rows. Each rank computes the features of its share of them, then has
those of all ranks, and runs the head on the whole batch for the loss of all of it: so the head's BatchNorm and
dropout, mixed targets and balanced losses need nothing of their own. In the backbone, BatchNorm takes the
statistics of the whole batch and stochastic depth draws for all of it. Only rounding differs from one rank.
"""

import copy
from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.distributed as dist
from lightning_fabric import Fabric
from torch import Tensor, nn
from torchvision.ops import StochasticDepth


def shares(count: int, ranks: int) -> list[slice]:
    """The share of each rank in `count` rows, in their order; they differ by one at most, and may be empty."""
    bounds = [count * rank // ranks for rank in range(ranks + 1)]
    return [slice(first, last) for first, last in pairwise(bounds)]


def gather(own: Tensor, counts: Sequence[int]) -> Tensor:
    """The rows of all ranks in their order, `[sum of counts, ...]`, from those of this one, `[counts[rank], ...]`,
    on its device."""
    padded = own.new_zeros(max(counts), *own.shape[1:])
    padded[: len(own)] = own
    every = [torch.empty_like(padded) for _ in counts]
    dist.all_gather(every, padded)
    return torch.cat([rows[:count] for rows, count in zip(every, counts, strict=True)])


class _Gather(torch.autograd.Function):
    """`gather` with a gradient: that of the own rows, times the number of ranks.

    Every rank takes the same loss of all rows, so that it knows the whole gradient of its own without asking. But
    parameters get the mean of the ranks' gradients (DistributedDataParallel), where those of the backbone need
    the sum; the head's are the same on every rank, and so is their mean.
    """

    @staticmethod
    def forward(ctx, own: Tensor, own_rows: slice, counts: Sequence[int]) -> Tensor:
        ctx.own_rows, ctx.ranks = own_rows, len(counts)
        return gather(own, counts)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None, None]:
        return gradient[ctx.own_rows] * ctx.ranks, None, None


class _Sum(torch.autograd.Function):
    """The sum over ranks, each of which goes on to a loss of its own."""

    @staticmethod
    def forward(ctx, value: Tensor) -> Tensor:
        total = value.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        return _Sum.apply(gradient)


class Ranks:
    """All ranks train `network`, a `network.Network` with what is frozen now, which itself is left as it is.

    Attributes:
        model: what a step calls instead of the network, with the very same weights and statistics: this rank's
            images to the logits of the whole batch.
        rows: of the batch under way, all ranks together.
        own: which of them are this rank's.
    """

    def __init__(self, fabric: Fabric, network: nn.Module) -> None:
        self.fabric = fabric
        self.rows, self.own = 0, slice(0, 0)
        tensors = [*network.parameters(), *network.buffers()]
        network = copy.deepcopy(network, {id(tensor): tensor for tensor in tensors})
        for group in (network.early, network.late):
            _see_all_ranks(group, self)
        self.model = fabric.strategy.setup_module(_Together(network, self))

    def share(self, rows: int) -> slice:
        """This rank's share of the next batch, which has so many rows."""
        self.rows, self.own = rows, shares(rows, self.fabric.world_size)[self.fabric.global_rank]
        return self.own

    def mean(self, value: float) -> float:
        """The mean over ranks, the same on all of them."""
        total = torch.tensor(value, dtype=torch.float64, device=self.fabric.device)
        dist.all_reduce(total)
        return total.item() / self.fabric.world_size


class _Together(nn.Module):
    """A network whose head sees the rows of all ranks."""

    def __init__(self, network: nn.Module, ranks: Ranks) -> None:
        super().__init__()
        self.network, self.ranks = network, ranks

    def forward(self, images: Tensor, numbers: Tensor | None = None) -> Tensor:
        features = self.network.features(images)
        if numbers is not None:
            features = torch.cat([features, numbers], dim=1)
        counts = [part.stop - part.start for part in shares(self.ranks.rows, self.ranks.fabric.world_size)]
        return self.network.head(_Gather.apply(features, self.ranks.own, counts))


class _BatchNorm(nn.BatchNorm2d):
    """What `nn.SyncBatchNorm`, which knows GPUs alone, is there: BatchNorm over the batch of all ranks."""

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        dims, shape = [0, 2, 3], [1, -1, 1, 1]
        values = x if x.dtype == torch.float64 else x.float()  # statistics are never of 16 bits
        count = values.new_tensor([x.numel() // x.shape[1]])
        total = _Sum.apply(torch.cat([values.sum(dims), count]))
        count = total[-1].detach()
        mean = total[:-1] / count
        centred = values - mean.view(shape)
        variance = _Sum.apply(centred.square().sum(dims)) / count
        with torch.no_grad():
            self.num_batches_tracked += 1
            self.running_mean.lerp_(mean.to(self.running_mean.dtype), self.momentum)
            unbiased = variance * (count / (count - 1))
            self.running_var.lerp_(unbiased.to(self.running_var.dtype), self.momentum)
        scale = self.weight * (variance + self.eps).rsqrt()
        return (centred * scale.view(shape) + self.bias.view(shape)).to(x.dtype)


class _StochasticDepth(StochasticDepth):
    """Drops of the own rows what one rank would: all draw for the whole batch, and stay in step for the head."""

    def __init__(self, p: float, mode: str, ranks: Ranks) -> None:
        super().__init__(p, mode)
        self.ranks = ranks

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        kept = super().forward(x.new_ones(self.ranks.rows, *[1] * (x.ndim - 1)))
        return x * kept[self.ranks.own]


def _see_all_ranks(module: nn.Module, ranks: Ranks) -> None:
    """Put layers that see the batch of all ranks in the place of those that would see their own rows alone."""
    batchnorm = _BatchNorm if ranks.fabric.device.type == "cpu" else nn.SyncBatchNorm
    for parent in list(module.modules()):
        for name, child in parent.named_children():
            if isinstance(child, nn.BatchNorm2d):
                layer = batchnorm(child.num_features)
                layer.__dict__.update(child.__dict__)  # with the very same tensors
                parent.add_module(name, layer)
            elif isinstance(child, StochasticDepth):
                parent.add_module(name, _StochasticDepth(child.p, child.mode, ranks))
