"""Write a trained network for other programs: ONNX, a torch.export program, and what to feed them.

On the command line `unfreeze export [MODEL] [IMAGE]... [--to FOLDER]`, in Python `export`.

Both programs take `images`, float32 `[N, C, size, size]` in [0, 1], and give `probabilities`, float32
`[N, classes]`. N is free. Normalisation is inside, and so is softmax, or sigmoid where an image can have several
labels. `model.json` holds the names of the classes and how an image becomes such an input. Before both files are
kept, they are run and compared with the network.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from unfreeze.core import paths
from unfreeze.core.arrays import open_array
from unfreeze.core.console import UserError
from unfreeze.core.files import replacing, write_json
from unfreeze.device.runtime import RuntimeParams, start
from unfreeze.images.convert import Rules, decode_image
from unfreeze.images.members import Rejection
from unfreeze.images.values import read_ranges
from unfreeze.task.kinds import build_task

if TYPE_CHECKING:
    from torch import nn
    from torch.export import ExportedProgram

    from unfreeze.model.card import Card

SAMPLE_SIZE = 16
"""Images that the exported programs are compared on."""
BATCH_SIZE = 5
"""Of these at once: the last batch is smaller than the others."""
TOLERANCE = 1e-4
"""The largest difference of a probability that is accepted."""


def export(model: Path, folder: Path, images: Sequence[Path] = ()) -> list[str]:
    """Write model.onnx, model.pt2 and model.json of the network of file `model` into `folder`.

    Args:
        images: image files to compare the results on. Without any, rows of the pipeline's images are taken if
            they are there and as large as the network's, else noise.

    Returns:
        Lines that say what was written and measured.

    Raises:
        UserError: the file holds no network, a package is missing, an image cannot be decoded, the network cannot
            be exported, or results differ by more than `TOLERANCE`. The files of an earlier run stay then.
    """
    _need_packages()
    start(RuntimeParams(device="cpu", precision="32", strict=False, threads="auto"))
    from torch import nn

    from unfreeze.model.network import load_network

    network, card = load_network(model)
    if card.numbers or card.channels.startswith("bands"):
        raise UserError(f"{model}: networks of radar bands, or with numbers beside the images, cannot be exported")
    inputs, origin = _read_inputs(card, images)
    activation = build_task(card.classes, card.thresholds).activation()
    module = nn.Sequential(network, activation).eval()
    with ExitStack() as stack:
        files = [folder / "model.onnx", folder / "model.pt2"]
        onnx, pt2 = (stack.enter_context(replacing(file)) for file in files)
        try:
            program = _export_program(module, inputs)
            _write_pt2(program, pt2)
            _write_onnx(program, onnx)
        except Exception as error:  # whatever torch's two exporters raise
            reason = str(error).strip().partition("\n")[0]
            raise UserError(f"{model}: torch cannot export {card.arch} ({reason})") from error
        expected = _run_torch(module, inputs)
        differences = [
            float(np.abs(probabilities - expected).max())
            for probabilities in (_run_onnx(onnx, inputs), _run_pt2(pt2, inputs))
        ]
        lines = [
            f"{file}: {temporary.stat().st_size / 1e6:,.1f} MB, differs by {difference:.1e} at most"
            for file, temporary, difference in zip(files, (onnx, pt2), differences, strict=True)
        ]
        if not max(differences) <= TOLERANCE:  # a NaN fails too
            raise UserError(
                f"{model}: the probabilities of an exported network differ by more than {TOLERANCE} on {origin}, "
                "so it was not kept: " + "; ".join(lines)
            )
        write_json(folder / "model.json", _describe(card))
    return [*lines, f"{folder / 'model.json'}: {len(card.classes)} classes; compared on {origin}"]


def _need_packages() -> None:
    for name in ("onnx", "onnxscript", "onnxruntime"):
        if find_spec(name) is None:
            raise UserError(f"exporting needs the package {name}, which is not installed: run make setup")


def _describe(card: Card) -> dict[str, object]:
    """Return what another program has to know, in the order of what is done to an image."""
    return {
        "classes": card.classes,
        "fit": card.fit,
        "stored_size": card.stored_size,
        "size": card.size,
        "input": {
            "name": "images",
            "shape": ["batch", len(card.mean), card.size, card.size],
            "type": "float32",
            "channels": card.channels,
            "range": [0, 1],
        },
        **({"ranges_of_more_than_8_bits": card.ranges} if card.ranges else {}),
        "normalisation_inside": {"mean": card.mean, "std": card.std},
        "output": {"name": "probabilities", "shape": ["batch", len(card.classes)], "type": "float32"},
        "thresholds": card.thresholds,
        "arch": card.arch,
    }


# --- The images to compare on


def _read_inputs(card: Card, images: Sequence[Path]) -> tuple[np.ndarray, str]:
    """Return plain views, float32 `[N, C, size, size]`, and in words where they come from."""
    import torch

    from unfreeze.views.augment import plain

    pipeline = _open_pixels(card)
    if images:
        pixels = np.stack([_decode_file(path, card) for path in images])
        origin = f"{len(pixels)} images"
    elif pipeline is not None:
        pixels = pipeline[np.linspace(0, len(pipeline) - 1, min(SAMPLE_SIZE, len(pipeline)), dtype=int)]
        origin = f"{len(pixels)} images of {paths.PIXELS}"
    else:
        shape = (SAMPLE_SIZE, card.stored_size, card.stored_size, len(card.mean))
        pixels = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
        origin = (
            f"{SAMPLE_SIZE} images of noise: there is no {paths.PIXELS} of this size, name some images instead"
        )
    return plain(torch.from_numpy(pixels), card.size).contiguous().numpy(), origin


def _open_pixels(card: Card) -> np.ndarray | None:
    """Open the pipeline's images; None if there are none, or they are of another shape than the network's."""
    if not paths.PIXELS.is_file():
        return None
    pixels = open_array(paths.PIXELS)
    shape = (card.stored_size, card.stored_size, len(card.mean))
    return pixels if len(pixels) and pixels.shape[1:] == shape else None


def _decode_file(path: Path, card: Card) -> np.ndarray:
    try:
        rules = Rules(ranges=read_ranges(card.ranges))
        return decode_image(path.read_bytes(), card.stored_size, card.fit, card.channels, path.name, rules).pixels
    except (Rejection, OSError) as error:
        raise UserError(f"{path}: {getattr(error, 'strerror', None) or error}") from None


# --- The programs


def _export_program(module: nn.Module, example: np.ndarray) -> ExportedProgram:
    import torch

    zeros = torch.zeros(2, *example.shape[1:])  # a batch of one would be taken for a fixed size
    program = torch.export.export(module, (zeros,), dynamic_shapes=_free_batch())
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # it holds paths of this machine's source files
    return program


def _free_batch() -> tuple[dict]:
    """Return the dynamic shape of `images`: any number of them."""
    import torch

    return ({0: torch.export.Dim("batch", min=1)},)


def _write_pt2(program: ExportedProgram, path: Path) -> None:
    import torch

    content = io.BytesIO()  # given a path, torch would write its name into the file
    torch.export.save(program, content)
    path.write_bytes(content.getbuffer())


def _write_onnx(program: ExportedProgram, path: Path) -> None:
    import torch

    names = {"input_names": ["images"], "output_names": ["probabilities"], "dynamic_shapes": _free_batch()}
    onnx = torch.onnx.export(program, dynamo=True, verbose=False, **names)
    path.write_bytes(onnx.model_proto.SerializeToString(deterministic=True))


# --- Running them


def _run_torch(module: nn.Module, inputs: np.ndarray) -> np.ndarray:
    import torch

    with torch.inference_mode():
        return np.concatenate([module(torch.from_numpy(batch)).numpy() for batch in _split_batches(inputs)])


def _run_pt2(path: Path, inputs: np.ndarray) -> np.ndarray:
    import torch

    with path.open("rb") as file:
        return _run_torch(torch.export.load(file).module(), inputs)


def _run_onnx(path: Path, inputs: np.ndarray) -> np.ndarray:
    from onnxruntime import InferenceSession

    session = InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return np.concatenate(
        [session.run(["probabilities"], {"images": batch})[0] for batch in _split_batches(inputs)]
    )


def _split_batches(inputs: np.ndarray) -> list[np.ndarray]:
    return [inputs[start : start + BATCH_SIZE] for start in range(0, len(inputs), BATCH_SIZE)]
