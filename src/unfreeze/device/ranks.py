"""Several ranks train a network as one would: each is a process with a device of its own.

A step trains on the same rows, whatever the number of ranks. Each rank computes the features of its share of them,
gathers those of all ranks, and runs the head on the whole batch for the loss of all of it. So the head's BatchNorm
and dropout, mixed targets and balanced losses need no code for ranks. In the backbone, BatchNorm takes the
statistics of the whole batch, and stochastic depth draws for all of it. Only rounding differs from one rank.
"""

import copy
from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.distributed as dist
from lightning_fabric import Fabric
from torch import Tensor, nn
from torchvision.ops import StochasticDepth


def share_out(count: int, ranks: int) -> list[slice]:
    """Return the share of each rank in `count` rows, in their order. Shares differ by one row at most, and may be
    empty."""
    bounds = [count * rank // ranks for rank in range(ranks + 1)]
    return [slice(first, last) for first, last in pairwise(bounds)]


def gather(own: Tensor, counts: Sequence[int]) -> Tensor:
    """Return the rows of all ranks in their order, on this rank's device.

    Args:
        own: the rows of this rank, `[counts[rank], ...]`.
        counts: how many rows each rank has.

    Returns:
        `[sum of counts, ...]`.
    """
    padded = own.new_zeros(max(counts), *own.shape[1:])
    padded[: len(own)] = own
    parts = [torch.empty_like(padded) for _ in counts]
    dist.all_gather(parts, padded)
    return torch.cat([rows[:count] for rows, count in zip(parts, counts, strict=True)])


class _Gather(torch.autograd.Function):
    """`gather` with a gradient: that of this rank's rows, times the number of ranks.

    Every rank takes the same loss of all rows, so that it knows the whole gradient of its own rows without asking.
    But DistributedDataParallel gives parameters the mean of the ranks' gradients, where those of the backbone need
    the sum. The head's gradients are the same on every rank, and so is their mean.
    """

    @staticmethod
    def forward(ctx, own: Tensor, own_rows: slice, counts: Sequence[int]) -> Tensor:
        ctx.own_rows, ctx.ranks = own_rows, len(counts)
        return gather(own, counts)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None, None]:
        return gradient[ctx.own_rows] * ctx.ranks, None, None


class _Sum(torch.autograd.Function):
    """The sum over ranks, each of which goes on to its own loss, so that its gradient is the sum of theirs."""

    @staticmethod
    def forward(ctx, value: Tensor) -> Tensor:
        total = value.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        return _Sum.apply(gradient)


class Ranks:
    """The ranks that train a network together, in one phase: what is frozen stays so.

    Attributes:
        model: what a step calls instead of the network: this rank's images to the logits of the whole batch. It
            has the very same weights and statistics, and the network itself stays as it is.
        rows: how many rows the batch under way has, all ranks together.
        own: which of them are this rank's.
    """

    def __init__(self, fabric: Fabric, network: nn.Module) -> None:
        """Set up `model`.

        Args:
            network: a `model.network.Network`, frozen as far as the phase wants it.
        """
        self.fabric = fabric
        self.rows, self.own = 0, slice(0, 0)
        tensors = [*network.parameters(), *network.buffers()]
        network = copy.deepcopy(network, {id(tensor): tensor for tensor in tensors})
        for group in (network.early, network.late):
            _sync_layers(group, self)
        self.model = fabric.strategy.setup_module(_WholeBatch(network, self))

    def share(self, rows: int) -> slice:
        """Begin a batch of so many rows, and return this rank's share of it."""
        self.rows, self.own = rows, share_out(rows, self.fabric.world_size)[self.fabric.global_rank]
        return self.own

    def mean(self, value: float) -> float:
        """Return the mean of `value` over ranks, the same on all of them."""
        total = torch.tensor(value, dtype=torch.float64, device=self.fabric.device)
        dist.all_reduce(total)
        return total.item() / self.fabric.world_size


class _WholeBatch(nn.Module):
    """A network whose head gets the rows of all ranks."""

    def __init__(self, network: nn.Module, ranks: Ranks) -> None:
        super().__init__()
        self.network, self.ranks = network, ranks

    def forward(self, images: Tensor, numbers: Tensor | None = None) -> Tensor:
        features = self.network.features(images)
        if numbers is not None:
            features = torch.cat([features, numbers], dim=1)
        counts = [part.stop - part.start for part in share_out(self.ranks.rows, self.ranks.fabric.world_size)]
        return self.network.head(_Gather.apply(features, self.ranks.own, counts))


class _SyncBatchNorm(nn.BatchNorm2d):
    """BatchNorm over the batch of all ranks on CPUs: `nn.SyncBatchNorm` takes GPUs alone."""

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        dims, shape = [0, 2, 3], [1, -1, 1, 1]
        values = x if x.dtype == torch.float64 else x.float()  # 16 bits are too few for statistics
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


class _SyncStochasticDepth(StochasticDepth):
    """Drops of this rank's rows what a single rank would drop.

    Every rank draws for the whole batch, so that their generators are in step when the head draws.
    """

    def __init__(self, p: float, mode: str, ranks: Ranks) -> None:
        super().__init__(p, mode)
        self.ranks = ranks

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        kept = super().forward(x.new_ones(self.ranks.rows, *[1] * (x.ndim - 1)))
        return x * kept[self.ranks.own]


def _sync_layers(module: nn.Module, ranks: Ranks) -> None:
    """Replace the layers of `module` that depend on all rows of a batch by those that know all ranks' rows."""
    batchnorm = _SyncBatchNorm if ranks.fabric.device.type == "cpu" else nn.SyncBatchNorm
    for parent in list(module.modules()):
        for name, child in parent.named_children():
            if isinstance(child, nn.BatchNorm2d):
                layer = batchnorm(child.num_features)
                layer.__dict__.update(child.__dict__)  # with the very same tensors
                parent.add_module(name, layer)
            elif isinstance(child, StochasticDepth):
                parent.add_module(name, _SyncStochasticDepth(child.p, child.mode, ranks))
