"""The tasks of `benchmarks.speed` as fastai 2 does them, with its defaults: what a user of it would write."""

from functools import partial

import torch
from fastai.vision.all import (
    CrossEntropyLossFlat,
    ImageDataLoaders,
    Normalize,
    Resize,
    accuracy,
    aug_transforms,
    get_image_files,
    imagenet_stats,
    vision_learner,
)
from fastai.vision.learner import default_split, model_meta
from torchvision import models

from benchmarks.contender import FINDER_STEPS, HEAD_EPOCHS, VIEWS, run, timed, wake

FINDER_SAMPLES = (5, 15)


def load(arch: str, file: str, pretrained: bool = False):
    """A torchvision network with the weights of `file`, as fastai calls an architecture."""
    net = models.get_model(arch)
    if file != "none":
        net.load_state_dict(torch.load(file, map_location="cpu", weights_only=True), strict=False)
    return net


def learner(args):
    """A learner on the folder photos/, frozen."""
    wake(args.device)
    torch.manual_seed(1)
    photos = args.data / "photos"
    loaders = ImageDataLoaders.from_folder(
        photos, train="train", valid="valid" if (photos / "valid").is_dir() else "val", seed=1, bs=args.batch,
        item_tfms=Resize(round(args.size * 292 / 256)),
        batch_tfms=[*aug_transforms(size=args.size, max_zoom=1.1), Normalize.from_stats(*imagenet_stats)],
        device=torch.device(args.device),
    )  # fmt: skip
    arch = partial(load, args.arch, args.weights)
    arch.__name__ = args.arch
    if hasattr(arch(), "features"):  # fastai finds a body's end by its pooling layer, which here is a function
        model_meta[arch] = {"cut": -1, "split": default_split}
    learn = vision_learner(
        loaders, arch, loss_func=CrossEntropyLossFlat(), metrics=accuracy, pretrained=False, normalize=False,
        train_bn=args.train_bn,
    )  # fmt: skip
    learn.freeze()
    learn.path = args.data  # where its finder saves the network, beside the photographs
    if args.precision == "bf16":
        learn.to_bf16()
    return learn


def features(args) -> dict:
    """One pass of the network over all images; fastai keeps no features."""
    result, learn = {}, learner(args)
    files = get_image_files(args.data / "photos")
    with learn.no_bar(), timed(result, "seconds"):
        learn.get_preds(dl=learn.dls.test_dl(files))
    return result | {"images": len(files)}


def frozen(args) -> dict:
    """Five epochs of the head on the frozen body, validation included."""
    result, learn = {}, learner(args)
    with learn.no_bar(), timed(result, "seconds"):
        learn.fit_one_cycle(HEAD_EPOCHS, 2e-3)
    return result | {
        "images": HEAD_EPOCHS * len(learn.dls.train_ds),
        "score": float(learn.recorder.values[-1][-1]),
    }


def unfrozen(args) -> dict:
    """Epochs of the whole network after one frozen epoch, as its `fine_tune`."""
    result, learn = {}, learner(args)
    with learn.no_bar():
        learn.fit_one_cycle(1, slice(2e-3), pct_start=0.99)
        learn.unfreeze()
        if args.device == "cuda":
            learn.fit_one_cycle(1, slice(1e-5))  # the first time loads a GPU's programs
        with timed(result, "seconds"):
            learn.fit_one_cycle(args.epochs, slice(1e-3 / 100, 1e-3), pct_start=0.3, div=5)
    return result | {
        "images": args.epochs * len(learn.dls.train_ds),
        "score": float(learn.recorder.values[-1][-1]),
    }


def lr_find(args) -> dict:
    """The range test of the frozen network. Each step costs as much as any other: some are timed, and two numbers
    of them tell apart what starting takes."""
    result, learn = {}, learner(args)
    with learn.no_bar():
        for steps in FINDER_SAMPLES:
            with timed(result, str(steps)):
                learn.lr_find(num_it=steps, show_plot=False)
    few, more = FINDER_SAMPLES
    step = (result[str(more)] - result[str(few)]) / (more - few)
    return result | {
        "seconds": result[str(few)] + step * (FINDER_STEPS - few),
        "images": FINDER_STEPS * args.batch,
    }


def tta(args) -> dict:
    """Its test-time augmentation of the validation images: four augmented views and the plain one."""
    result, learn = {}, learner(args)
    with learn.no_bar(), timed(result, "seconds"):
        learn.tta(n=VIEWS)
    return result | {"images": len(learn.dls.valid_ds)}


if __name__ == "__main__":
    run({"features": features, "frozen": frozen, "unfrozen": unfrozen, "lr_find": lr_find, "tta": tta})
