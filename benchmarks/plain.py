"""The tasks of `benchmarks.speed` as a plain torch loop does them, and the limits: each part of the work alone."""

import os
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial

import numpy as np

from benchmarks.contender import run, timed, wake

LIMIT_SECONDS = {"cpu": 10.0, "cuda": 2.0}
"""How long a limit is measured."""


def loader(folder, transform, batch: int, **kwargs):
    """A loader of an image folder, with a worker for each core."""
    from torch.utils.data import DataLoader
    from torchvision.datasets import ImageFolder

    return DataLoader(ImageFolder(folder, transform), batch, num_workers=os.cpu_count(), **kwargs)


def transforms(size: int, train: bool):
    """Those of torchvision's training reference."""
    import torch
    from torchvision.transforms import v2

    last = [v2.ToDtype(torch.float32, scale=True), v2.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])]
    if train:
        first = [v2.RandomResizedCrop(size, scale=(0.5, 1)), v2.RandomHorizontalFlip(), v2.RandomRotation(10)]
        first.append(v2.ColorJitter(0.1, 0.1))
    else:
        first = [v2.Resize(round(size * 292 / 256)), v2.CenterCrop(size)]
    return v2.Compose([v2.ToImage(), *first, *last])


def network(args):
    """The whole torchvision network, with its weights."""
    import torch
    from torchvision import models

    wake(args.device)
    net = models.get_model(args.arch)
    if args.weights != "none":
        net.load_state_dict(torch.load(args.weights, map_location="cpu", weights_only=True), strict=False)
    return net.to(args.device)


def features(args) -> dict:
    """One pass of the network over all images."""
    import torch

    result, net, count = {}, network(args).eval(), 0
    with timed(result, "seconds"), torch.inference_mode():
        for part in sorted((args.data / "photos").glob("[tv]*")):
            for images, _ in loader(part, transforms(args.size, train=False), args.batch):
                net(images.to(args.device))
                count += len(images)
    return result | {"images": count}


def unfrozen(args) -> dict:
    """One epoch of the whole network."""
    import torch

    result, net = {}, network(args).train()
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-3, momentum=0.9)
    batches = loader(args.data / "photos/train", transforms(args.size, train=True), args.batch, shuffle=True)
    with timed(result, "seconds"):
        for images, targets in batches:
            loss = torch.nn.functional.cross_entropy(net(images.to(args.device)), targets.to(args.device))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            loss.item()
    return result | {"images": len(batches.dataset)}


def _decode(size: int, paths: list) -> int:
    from unfreeze.images.convert import decode_image

    for path in paths:
        decode_image(path.read_bytes(), size, "crop")
    return len(paths)


def decode_limit(args) -> dict:
    """Decoding and resizing alone, by one process on each core, nothing written."""
    files = sorted((args.data / "photos").glob("*/*/*"))
    files = [file for file in files if file.suffix == ".jpg"]
    chunks = [files[i : i + 16] for i in range(0, len(files), 16)]
    result = {}
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(partial(_decode, 32), [files[:1]] * os.cpu_count()))  # the processes have started
        with timed(result, "seconds"):
            result["images"] = sum(pool.map(partial(_decode, round(args.size * 292 / 256)), chunks))
    return result


def _ours(args):
    """This project's network in the layout and precision that its stages use, and a batch for it in memory."""
    from unfreeze.device.runtime import RuntimeParams, start

    fabric = start(RuntimeParams(device=args.device, precision=args.precision, strict=False, threads="auto"))
    import torch

    from unfreeze.model.backbone import build_backbone
    from unfreeze.model.backbones.torchvision import cut, outline
    from unfreeze.model.head import HeadParams, build_head
    from unfreeze.model.network import Network
    from unfreeze.model.pool import pool

    backbone = build_backbone(args.arch, args.weights, 1, args.size)
    shape = cut(outline(args.arch, args.size), args.arch)
    width = pool(shape.late(shape.early(torch.empty(1, 3, args.size, args.size, device="meta")))).shape[1]
    head = build_head(width, 10, HeadParams(hidden=[512], dropout=[0.25, 0.5]), 1)
    images = torch.rand(args.batch, 3, args.size, args.size, generator=torch.Generator().manual_seed(1))
    net = Network(backbone, head).to(fabric.device, memory_format=torch.channels_last)
    return fabric, net, images.to(fabric.device, memory_format=torch.channels_last)


def _repeated(steps, args, at_once: int = 1) -> dict:
    """`steps(n)`, which makes n of them, over and over with `at_once`; the first time is not counted. What runs
    side by side takes many, for at the end of each call some wait for the last one."""
    steps(at_once)
    started, count = time.perf_counter(), 0
    while time.perf_counter() - started < LIMIT_SECONDS[args.device]:
        steps(at_once)
        count += at_once
    return {"seconds": time.perf_counter() - started, "images": args.batch * count}


def forward_limit(args) -> dict:
    """The forward pass alone, on one batch in memory."""
    fabric, net, images = _ours(args)
    import torch

    from unfreeze.device.prefetch import map_batches
    from unfreeze.device.runtime import computes_half
    from unfreeze.model.fast.inference import for_inference

    net = for_inference(net, computes_half(fabric))

    def forward(images) -> torch.Tensor:
        with torch.no_grad():
            return net(images).sum()

    def forwards(count: int) -> float:
        with map_batches(fabric.device, lambda _: images, forward, range(count)) as sums:
            return sum(sums).item()

    return _repeated(forwards, args, at_once={"cpu": 32, "cuda": 64}[args.device])


def step_limit(args) -> dict:
    """The training step of the whole network alone, on one batch in memory."""
    fabric, net, images = _ours(args)
    import torch

    from unfreeze.task.single import Single
    from unfreeze.train.learner import Learner, build_optimizer
    from unfreeze.train.schedule import StepParams

    params = StepParams(
        batch_size=args.batch, optimizer="sgd", momentum=0.9, weight_decay=0.0, label_smoothing=0.0, clip_norm=0.0,
        balance="none",
    )  # fmt: skip
    learner = Learner(
        fabric=fabric,
        model=net,
        optimizer=build_optimizer(net.groups, [1, 1, 1], params),
        inputs=lambda rows, epoch: images,
        targets=torch.arange(args.batch, device=fabric.device) % 10,
        task=Single([str(digit) for digit in range(10)]),
        params=params,
        key=(1, "step"),
    )
    rows = np.arange(args.batch)

    def steps(count: int) -> list[float]:
        return [learner.step(number=i, batch=rows, epoch=0, x=images, lr=1e-3, momentum=0.9) for i in range(count)]

    return _repeated(steps, args)


if __name__ == "__main__":
    limits = {"decode_limit": decode_limit, "forward_limit": forward_limit, "step_limit": step_limit}
    run({"features": features, "unfrozen": unfrozen, **limits})
