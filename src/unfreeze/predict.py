"""Classify new images with the one file that a trained network is.

On the command line `python -m unfreeze.predict MODEL IMAGE...`, in Python `predict`, or a `Classifier` to load the
network once and ask it often. Images are decoded as in the pipeline, so that one of its images gets the
probabilities of the plain view again. A network of radar bands takes the JSON files of their records instead.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import io
import json
import math
import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, get_args

import numpy as np
from pydantic import ValidationError
from tqdm import tqdm

from unfreeze.console import UserError, progress
from unfreeze.data.archive import extract, is_archive
from unfreeze.data.bands import is_records_file, read_record, records
from unfreeze.data.images import MAX_BYTES, Member, Rejected, decode_image, is_candidate, read_member
from unfreeze.data.standard import number_inputs
from unfreeze.data.table import NO_LABELS
from unfreeze.files import read_csv
from unfreeze.runtime import RuntimeParams, computes_half, start
from unfreeze.thresholds import Rule
from unfreeze.train.augment import AugmentParams, Images

if TYPE_CHECKING:
    from torch import Tensor

BATCH = 32
"""Images at once, as in the evaluation: what is held in memory does not grow with the number of images."""

Source = str | Path | bytes
"""A file, a folder or an archive, an image's content, or `-` for an image on standard input."""

Found = tuple[str, Callable[[], bytes]]
"""A file's path, and what reads its content or raises Rejected."""

Decoded = tuple[np.ndarray, dict[str, Any]]
"""An image as the network's training stored it, `[S, S, C]`, and the fields beside it: none of an image file."""


@dataclass(frozen=True)
class Prediction:
    """What came out for one image: either probabilities or an error."""

    path: str
    """As it was given or found; in an archive `archive.7z/path/in/it`; `-` for content without a path."""
    probabilities: dict[str, float]
    """Of all classes, in the network's order; empty where there is an error."""
    error: str = ""
    """Why there are no probabilities."""
    thresholds: dict[str, float] | None = None
    """Where an image can have several labels: from which probability on each counts."""

    @property
    def ranked(self) -> list[tuple[str, float]]:
        """The classes with their probabilities, most probable first."""
        return sorted(self.probabilities.items(), key=lambda item: -item[1])

    @property
    def labels(self) -> list[str]:
        """Of several labels those at or above their thresholds, in the network's order; else the most probable
        class alone."""
        if self.thresholds is None:
            return [name for name, _ in self.ranked[:1]]
        return [name for name, value in self.probabilities.items() if value >= self.thresholds[name]]

    @property
    def predicted(self) -> str:
        """The labels, with a space between each two, `-` for none; empty where there is an error."""
        return " ".join(self.labels) or NO_LABELS if self.probabilities else ""


def predict(
    model: str | Path, sources: Source | Iterable[Source], tta: int = 0, thresholds: Rule = "global"
) -> Iterator[Prediction]:
    """Load the network of file `model` and classify `sources`, as `Classifier.predict` does."""
    return Classifier(model).predict(sources, tta, thresholds)


class Classifier:
    """A trained network, loaded once."""

    def __init__(self, model: str | Path, device: str = "auto", precision: str = "auto") -> None:
        """Load the file `model`; `device` and `precision` are those of `runtime` in params.yaml.

        Raises:
            UserError: there is no such file, it is damaged, or it is no network of this version of unfreeze.
        """
        self.path = Path(model)
        runtime = RuntimeParams(device=device, precision=precision, strict=False, threads="auto")
        self.fabric = start(runtime)  # before torch is imported: it settles how
        from unfreeze.model.inference import for_inference
        from unfreeze.model.network import load_network

        network, self.card = load_network(self.path)
        try:
            self.augment = AugmentParams(**self.card.augment)
        except ValidationError as error:
            raise UserError(f"{model} does not describe a network of this version of unfreeze ({error})") from None
        self.network = for_inference(network.to(self.fabric.device), computes_half(self.fabric))

    @property
    def classes(self) -> list[str]:
        """The names of the classes, in the order of the probabilities."""
        return self.card.classes

    @property
    def multi(self) -> bool:
        """Whether an image can have any number of the classes."""
        return bool(self.card.thresholds)

    def predict(
        self, sources: Source | Iterable[Source], tta: int = 0, thresholds: Rule = "global"
    ) -> Iterator[Prediction]:
        """Classify images one batch after another, in the order given.

        Args:
            sources: files, folders, archives, contents of image files, or `-`; a single one need not stand in a
                list. A file named here is always tried. Folders are taken recursively and sorted, and links in
                them are followed; archives are unpacked into the temporary folder. In folders and archives,
                files known to be no images are passed over.
            tta: augmented views beside the plain one, 0 for none; their probabilities are averaged.
            thresholds: where an image can have several labels, one for all of them or one for each; as tuned on
                the plain views of the validation images at the end of training.

        Returns:
            One prediction an image. Whatever cannot be used gets one with an error, and the rest go on.

        Raises:
            UserError: `tta` is negative, or an option would have no effect.
        """
        if thresholds not in get_args(Rule):
            raise UserError(f"thresholds = {thresholds!r}: must be {' or '.join(get_args(Rule))}")
        if thresholds != "global" and not self.multi:
            raise UserError(
                f"thresholds = {thresholds} has no effect: {self.path} gives one class an image, the most probable"
            )
        if tta < 0:
            raise UserError(f"tta = {tta}: the number of augmented views must be 0 or more")
        if tta and self.augment.set == "none":
            raise UserError(
                f"tta = {tta} has no effect: {self.path} was trained with augment.set = none, "
                "so that all views would be the same"
            )
        return self._predict([sources] if isinstance(sources, Source) else sources, tta, thresholds)

    def _predict(self, sources: Iterable[Source], tta: int, rule: Rule) -> Iterator[Prediction]:
        thresholds = dict(zip(self.classes, self.card.thresholds[rule], strict=True)) if self.multi else None
        with progress(0, "predict") as bar:
            decoded = self._decoded(sources, bar)
            while block := list(islice(decoded, BATCH)):
                usable = [found for _, found in block if not isinstance(found, str)]
                pixels, fields = zip(*usable, strict=True) if usable else ((), ())
                rows = iter(self.probabilities(np.stack(pixels), tta, fields) if pixels else ())
                for path, found in block:
                    if isinstance(found, str):
                        yield Prediction(path, {}, found)
                    else:
                        values = dict(zip(self.classes, next(rows).tolist(), strict=True))
                        yield Prediction(path, values, thresholds=thresholds)
                bar.update(len(block))

    def _decoded(self, sources: Iterable[Source], bar: tqdm) -> Iterator[tuple[str, Decoded | str]]:
        """Each image's path, with what it is to the network, or the reason why it is nothing."""
        bands = self.card.channels.startswith("bands")
        wanted, decode = (is_records_file, self._records) if bands else (is_candidate, self._image)
        for source in sources:
            name = "-" if isinstance(source, bytes) else str(source)
            try:
                for path, read in _find(source, bar, wanted):
                    try:
                        yield from decode(path, read())
                    except Rejected as reason:
                        yield path, str(reason)
            except (Rejected, UserError) as reason:  # of the whole source
                yield name, str(reason).removeprefix(name).lstrip(": ")
            except OSError as error:
                yield name, error.strerror or str(error)

    def _image(self, path: str, content: bytes) -> Iterator[tuple[str, Decoded]]:
        stored = decode_image(content, self.card.stored_size, self.card.fit, self.card.channels)
        yield path, (stored.pixels, {})

    def _records(self, path: str, content: bytes) -> Iterator[tuple[str, Decoded | str]]:
        """Each record of a JSON file, as `path/id`."""
        for i, record in enumerate(records([content], path), start=1):
            try:
                name, bands, fields = read_record(record, self.card.stored_size, self.card.channels)
                yield f"{path}/{name}", (bands, fields)
            except Rejected as reason:
                yield f"{path}/object {i}", str(reason)

    def probabilities(
        self, pixels: np.ndarray, tta: int = 0, fields: Sequence[Mapping[str, Any]] | None = None
    ) -> np.ndarray:
        """The mean over the plain view and `tta` augmented ones of stored images `[B, S, S, C]`: float64
        `[B, classes]`.

        The views are drawn as in the evaluation, but by each image's own pixels in place of its row: an image
        gets the same ones wherever it stands among others. Where the network takes numbers beside the images, they
        are among the `fields` of each image; a missing one is what it was in training, the median.
        """
        from unfreeze.train.loop import predict, probabilities

        names = [column["name"] for column in self.card.numbers]
        known = [[_number(each.get(name)) for name in names] for each in fields or [{}] * len(pixels)]
        numbers = number_inputs(np.array(known, np.float64).reshape(len(pixels), len(names)), self.card.numbers)
        keyed = _Keyed(pixels, numbers)
        images = Images(keyed, self.card.size, self.fabric.device, numbers=keyed.numbers)

        def augmented(rows: np.ndarray, view: int) -> Tensor:
            return images.augmented(rows, view, self.augment, self.card.seed, "tta")

        total = np.zeros((len(pixels), len(self.classes)))
        for inputs, view in [(images.plain, 0), *((augmented, view) for view in range(tta))]:
            logits = predict(self.fabric, self.network, inputs, keyed.rows, BATCH, view)
            total += probabilities(logits, self.multi)
        return total / (1 + tta)


class _Keyed:
    """Images `[B, S, S, C]` whose row numbers are made of their pixels, for draws that depend on these alone, and
    the `numbers` `[B, E]` beside them, which are looked up by the same rows."""

    def __init__(self, pixels: np.ndarray, numbers: np.ndarray) -> None:
        keys = [_key(*both) for both in zip(pixels, numbers, strict=True)]
        self.rows = np.array(keys, np.uint64)
        self.numbers = _Lookup(numbers, keys)
        self.shape, self._images = pixels.shape, _Lookup(pixels, keys)

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        return self._images[rows]


class _Lookup:
    """An array whose rows are found by keys in place of 0, 1, 2..."""

    def __init__(self, array: np.ndarray, keys: Sequence[int]) -> None:
        self.shape = array.shape
        self.places = dict(zip(keys, array, strict=True))

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        return np.stack([self.places[row] for row in rows.tolist()])


def _key(*arrays: np.ndarray) -> int:
    digest = hashlib.sha256(b"".join(array.tobytes() for array in arrays)).digest()
    return int.from_bytes(digest[:8], "little")


def _number(value: Any) -> float:
    """A number beside an image; NaN where it is missing, or none."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return math.nan
    return number if math.isfinite(number) else math.nan


def _find(source: Source, bar: tqdm, wanted: Callable[[str], bool] = is_candidate) -> Iterator[Found]:
    """The files of one source, in folders and archives those `wanted` by name; the bar's total grows by them."""
    path = Path() if isinstance(source, bytes) else Path(source)
    if isinstance(source, bytes):
        found = iter([("-", lambda: source)])
    elif str(source) == "-":
        found = iter([("-", lambda: _content(sys.stdin.buffer))])
    elif path.is_dir():
        return _in_folder(path, bar, wanted)
    elif path.is_file() and is_archive(path):
        return _in_archive(path, bar, wanted)
    else:
        found = iter([(str(source), partial(_read, path))])
    bar.total += 1
    return found


def _in_folder(folder: Path, bar: tqdm, wanted: Callable[[str], bool]) -> Iterator[Found]:
    paths = [str(path) for path in _walk(folder, wanted)]  # names alone are held for all of them
    if not paths:
        raise Rejected("no image in this folder")
    bar.total += len(paths)
    for path in paths:
        yield path, partial(_read, Path(path))


def _walk(folder: Path, wanted: Callable[[str], bool], above: frozenset[Path] = frozenset()) -> Iterator[Path]:
    """The files below `folder` that are `wanted`, sorted, links followed, but never back to a folder above.

    What is hidden is passed over, and so is what is no file. A link to nothing, or a folder that cannot be
    listed, is among the results: reading it gives the reason.
    """
    try:
        entries = sorted(folder.iterdir(), key=lambda entry: entry.name)
    except OSError:
        yield folder
        return
    above |= {folder.resolve()}
    for entry in entries:
        mode = _mode(entry)
        if stat.S_ISDIR(mode):
            hidden = entry.name.startswith(".") or entry.name == "__MACOSX"
            if not hidden and entry.resolve() not in above:
                yield from _walk(entry, wanted, above)
        elif stat.S_ISREG(mode) and wanted(entry.name):
            yield entry


def _mode(path: Path) -> int:
    """What `path` or the target of that link is; a file where that cannot be told, so that reading it says why."""
    try:
        return path.stat().st_mode
    except OSError:
        return stat.S_IFREG


def _in_archive(archive: Path, bar: tqdm, wanted: Callable[[str], bool]) -> Iterator[Found]:
    with tempfile.TemporaryDirectory(prefix="unfreeze-") as folder:
        tar, index = Path(folder, "members.tar"), Path(folder, "members.csv")
        password = os.environ.get("UNFREEZE_ARCHIVE_PASSWORD") or None
        free = shutil.disk_usage(folder).free
        extract(archive, tar, index, free, password, f"the free space in {tempfile.gettempdir()} (TMPDIR)")
        members = [
            Member(row["path"], int(row["offset"]), int(row["size"]))
            for row in read_csv(index)
            if wanted(row["path"]) and not row["path"].endswith("/")
        ]
        if not members:
            raise Rejected("no image in this archive")
        bar.total += len(members)
        with tar.open("rb") as file:
            for member in members:
                yield f"{archive}/{member.path}", partial(read_member, file, member)


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return _content(file)
    except OSError as error:
        raise Rejected(error.strerror or str(error)) from None


def _content(file: BinaryIO) -> bytes:
    """All of `file`, which may be a pipe or without end; Rejected if it is too large."""
    data = bytearray()
    while chunk := file.read(1 << 20):
        data += chunk
        if len(data) > MAX_BYTES:
            raise Rejected(f"larger than {MAX_BYTES:,} bytes")
    return bytes(data)


# --- The command


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns its exit status: 0, 1 if any image failed, 2 if nothing could be done."""
    parser = _parser()
    args = parser.parse_args(arguments)
    if args.top is not None and (args.json or args.csv):
        parser.error("--top has no effect with --json and --csv, which give all classes")
    if args.top is not None and args.top < 1:
        parser.error(f"--top {args.top}: must be 1 or more")
    sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace", line_buffering=True)
    try:
        return _run(args)
    except UserError as error:
        print(f"predict: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("predict: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # whoever reads, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m unfreeze.predict",
        description="Classify new images with a trained network.",
        epilog="Exit status: 0; 1 if any image failed (the reasons are on stderr); 2 if nothing could be done.",
    )
    parser.add_argument("model", metavar="MODEL", type=Path, help="such as models/model.safetensors")
    parser.add_argument(
        "images", metavar="IMAGE", nargs="+", help="file, folder, archive, or - for one image on standard input"
    )
    parser.add_argument(
        "--tta", metavar="N", type=int, default=0, help="average over N augmented views beside the plain one"
    )
    parser.add_argument(
        "--top",
        metavar="K",
        type=int,
        help="show the K most probable classes (1, or the labels above their thresholds)",
    )
    parser.add_argument(
        "--thresholds",
        choices=get_args(Rule),
        default="global",
        help="of several labels an image: one for all labels, or one for each",
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="one JSON object a line, with all probabilities")
    form.add_argument("--csv", action="store_true", help="CSV with all probabilities")
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    parser.add_argument("--precision", choices=["auto", "32", "bf16"], default="auto")
    return parser


def _run(args: argparse.Namespace) -> int:
    classifier = Classifier(args.model, args.device, args.precision)
    predictions = classifier.predict(args.images, args.tta, args.thresholds)
    count = failed = 0
    if args.csv:
        print(_csv_line(["path", "predicted", *(f"p_{name}" for name in classifier.classes), "error"]))
    for prediction in predictions:
        count += 1
        if prediction.error:
            failed += 1
            tqdm.write(f"predict: {_shown(prediction.path)}: {prediction.error}", file=sys.stderr)
        if args.json:
            tqdm.write(_json_line(prediction))
        elif args.csv:
            values = [prediction.probabilities.get(name, "") for name in classifier.classes]
            tqdm.write(_csv_line([prediction.path, prediction.predicted, *values, prediction.error]))
        elif not prediction.error:
            tqdm.write(_table_line(prediction, classifier.classes, args.top))
    if failed:
        print(f"predict: {failed:,} of {count:,} failed", file=sys.stderr)
    return 1 if failed else 0


def _json_line(prediction: Prediction) -> str:
    content: dict[str, Any] = {"path": prediction.path}
    if prediction.error:
        content["error"] = prediction.error
    else:
        several = prediction.thresholds is not None
        predicted = prediction.labels if several else prediction.predicted
        content |= {"predicted": predicted, "probabilities": prediction.probabilities}
    return json.dumps(content, ensure_ascii=False, allow_nan=False)


def _csv_line(values: list[object]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(values)
    return line.getvalue()


def _table_line(prediction: Prediction, classes: list[str], top: int | None) -> str:
    width = max(map(len, classes))
    labels = prediction.labels
    shown = [item for item in prediction.ranked if top or item[0] in labels]
    columns = [f"{name:<{width}} {value:.4f}" for name, value in shown[:top]] or [NO_LABELS]
    return "  ".join([f"{_shown(prediction.path):<40}", *columns])


def _shown(path: str) -> str:
    """A path without characters that a terminal would obey."""
    return path if path.isprintable() else ascii(path)[1:-1]


if __name__ == "__main__":
    sys.exit(main())
