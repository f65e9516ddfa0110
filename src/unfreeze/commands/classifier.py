"""Classifies new images with one file: the trained network.

`predict` loads the network for one call, a `Classifier` loads it once for many. Images are decoded as in the
pipeline, so that one of its images gets the probabilities of the plain view again. A network of radar bands takes
the JSON files of their records instead.
"""

from __future__ import annotations

import hashlib
import logging
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
from pydantic import ValidationError
from tqdm import tqdm

from unfreeze.commands.sources import ImageFile, Source, find_image_files
from unfreeze.core.console import UserError, progress
from unfreeze.device.runtime import RuntimeParams, computes_half, start
from unfreeze.images.bands import is_records_file, parse_records, read_record
from unfreeze.images.convert import Rules, decode_image, is_candidate
from unfreeze.images.members import Rejection
from unfreeze.images.values import Extent, range_of_image, read_ranges
from unfreeze.labels.standard import encode_numbers
from unfreeze.task.base import Rule
from unfreeze.task.kinds import build_task
from unfreeze.views.augment import AugmentParams
from unfreeze.views.images import Images

if TYPE_CHECKING:
    from unfreeze.views.predict import Batch, Inputs

BATCH_SIZE = 32
"""Images at once, as in the evaluation: the memory that is held does not grow with the number of images."""


@dataclass(frozen=True)
class Prediction:
    """What the network says of one image: either probabilities or an error."""

    path: str
    """As it was named; in a folder or an archive, with its path there (`archive.7z/path/in/it`); `-` for content
    without a path."""
    probabilities: dict[str, float] = field(default_factory=dict)
    """Of all classes, in the network's order, 0..1; empty where there is an error."""
    error: str = ""
    """Why there are no probabilities."""
    thresholds: dict[str, float] | None = None
    """With several labels an image: the probability from which on each label counts."""
    labels: list[str] = field(default_factory=list)
    """With several labels an image those at or above their thresholds, in the network's order; else the most
    probable class alone."""
    predicted: str = ""
    """The labels, with a space between each two, `-` for none; empty where there is an error."""

    @property
    def ranked(self) -> list[tuple[str, float]]:
        """The classes with their probabilities, most probable first."""
        return sorted(self.probabilities.items(), key=lambda item: -item[1])


@dataclass(frozen=True)
class SourceImage:
    """An image as the network's training stored it, or why there is none."""

    path: str
    pixels: np.ndarray | None = None
    """`[S, S, C]`: uint8, or float32 of radar bands; None where there is an error."""
    fields: Mapping[str, Any] = field(default_factory=dict)
    """The fields of a record beside its bands; an image file has none."""
    error: str = ""


def predict(
    model: str | Path, sources: Source | Iterable[Source], tta: int = 0, thresholds: Rule = "global"
) -> Iterator[Prediction]:
    """Load the network of file `model` and classify `sources`, as `Classifier.predict` does."""
    return Classifier(model).predict(sources, tta=tta, thresholds=thresholds)


class Classifier:
    """A trained network, loaded once."""

    def __init__(self, model: str | Path, device: str = "auto", precision: str = "auto") -> None:
        """Load the file `model`; `device` and `precision` are those of `runtime` in params.yaml.

        Raises:
            UserError: there is no such file, it is damaged, or it is no network of this version of unfreeze.
        """
        self.path = Path(model)
        runtime = RuntimeParams(device=device, precision=precision, strict=False, threads="auto")
        self.fabric = start(runtime)  # before torch is imported: it sets what torch reads then
        from unfreeze.model.fast.inference import for_inference
        from unfreeze.model.network import load_network

        network, self.card = load_network(self.path)
        try:
            self.augment = AugmentParams(**self.card.augment)
        except ValidationError as error:
            raise UserError(f"{model} does not describe a network of this version of unfreeze ({error})") from None
        self.network = for_inference(network.to(self.fabric.device), computes_half(self.fabric))
        self.task = build_task(self.card.classes, self.card.thresholds)
        self.rules = Rules(ranges=read_ranges(self.card.ranges))
        self._warned: set[str] = set()

    @property
    def classes(self) -> list[str]:
        """The names of the classes, in the order of the probabilities."""
        return self.card.classes

    def predict(
        self, sources: Source | Iterable[Source], tta: int = 0, thresholds: Rule = "global"
    ) -> Iterator[Prediction]:
        """Classify images one batch after another, in the order given.

        Args:
            sources: files, folders, archives, contents of image files, or `-`; a single one need not stand in a
                list. A file named here is always tried. Folders are walked recursively in sorted order, and links
                in them are followed; archives are unpacked into the temporary folder. In folders and archives,
                files known to be no images are passed over.
            tta: augmented views beside the plain one, 0 for none; their probabilities are averaged.
            thresholds: with several labels an image: one for all labels, or one for each. They were tuned on the
                plain views of the validation images at the end of training.

        Returns:
            One prediction an image. What cannot be used gets a prediction with an error, and the rest go on.

        Raises:
            UserError: `tta` is negative, or an option would have no effect.
        """
        if thresholds not in get_args(Rule):
            raise UserError(f"thresholds = {thresholds!r}: must be {' or '.join(get_args(Rule))}")
        if thresholds != "global" and not self.task.uses_thresholds:
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
        with progress(0, "predict") as bar:
            images = self._decode_sources(sources, bar)
            while batch := list(islice(images, BATCH_SIZE)):
                yield from self._predict_batch(batch, tta, rule)
                bar.update(len(batch))

    def _predict_batch(self, batch: Sequence[SourceImage], tta: int, rule: Rule) -> Iterator[Prediction]:
        thresholds = self.card.thresholds[rule] if self.task.uses_thresholds else None
        by_class = dict(zip(self.classes, thresholds, strict=True)) if thresholds else None
        usable = [image for image in batch if not image.error]
        answers = iter(())
        if usable:
            pixels = np.stack([image.pixels for image in usable])
            probabilities = self.probabilities(pixels, tta=tta, fields=[image.fields for image in usable])
            labels = self.task.describe(self.task.decide(probabilities, thresholds))
            answers = zip(probabilities.tolist(), labels, strict=True)
        for image in batch:
            if image.error:
                yield Prediction(path=image.path, error=image.error)
                continue
            values, label = next(answers)
            yield Prediction(
                path=image.path,
                probabilities=dict(zip(self.classes, values, strict=True)),
                labels=self.task.names(label),
                predicted=label,
                thresholds=by_class,
            )

    def _decode_sources(self, sources: Iterable[Source], bar: tqdm) -> Iterator[SourceImage]:
        """Yield the images of all sources. One that cannot be used has an error."""
        bands = self.card.channels.startswith("bands")
        is_wanted, decode = (is_records_file, self._decode_records) if bands else (is_candidate, self._decode_file)
        for source in sources:
            name = "-" if isinstance(source, bytes) else str(source)
            try:
                for file in find_image_files(source, bar, is_wanted):
                    try:
                        yield from decode(file)
                    except Rejection as reason:
                        yield SourceImage(path=file.path, error=str(reason))
            except (Rejection, UserError) as reason:  # the whole source cannot be used
                yield SourceImage(path=name, error=str(reason).removeprefix(name).lstrip(": "))
            except OSError as error:
                yield SourceImage(path=name, error=error.strerror or str(error))

    def _decode_file(self, file: ImageFile) -> Iterator[SourceImage]:
        card = self.card
        name = Path(file.path).name
        image = decode_image(file.read(), card.stored_size, card.fit, card.channels, name, self.rules)
        if image.extent:
            self._warn_of_range(file.path, image.extent)
        yield SourceImage(path=file.path, pixels=image.pixels)

    def _warn_of_range(self, path: str, extent: Extent) -> None:
        """Say once where a kind of values of more than 8 bits was not among the training images."""
        if extent.kind in self.rules.ranges or extent.kind in self._warned:
            return
        self._warned.add(extent.kind)
        black, white = range_of_image(extent)
        logging.getLogger(__name__).warning(
            f"{path} holds {extent.kind} of more than 8 bits a channel, and {self.path} was trained without such "
            f"images: {black:,} is black and {white:,} white"
        )

    def _decode_records(self, file: ImageFile) -> Iterator[SourceImage]:
        """Yield each record of a JSON file, as `path/id`."""
        for i, record in enumerate(parse_records([file.read()], file.path), start=1):
            try:
                image = read_record(record, self.card.stored_size, self.card.channels)
                yield SourceImage(path=f"{file.path}/{image.id}", pixels=image.pixels, fields=image.fields)
            except Rejection as reason:
                yield SourceImage(path=f"{file.path}/object {i}", error=str(reason))

    def probabilities(
        self, pixels: np.ndarray, tta: int = 0, fields: Sequence[Mapping[str, Any]] | None = None
    ) -> np.ndarray:
        """Return the mean probabilities over the plain view and `tta` augmented ones, float64 `[B, classes]`.

        The views are drawn as in the evaluation, but by the bytes of each image in place of its row: an image gets
        the same views wherever it stands among others.

        Args:
            pixels: images as they were stored in training, `[B, S, S, C]`.
            fields: of each image, among them the numbers beside it if the network takes any. For a missing number
                stands the median of training, as it did there.
        """
        from unfreeze.views.predict import Predictor

        columns = self.card.numbers
        cells = [[each.get(column["name"]) for column in columns] for each in fields or [{}] * len(pixels)]
        values = np.array([list(map(_to_number, row)) for row in cells], np.float64)
        numbers = encode_numbers(values.reshape(len(pixels), len(columns)), columns)
        keys = [_hash_image(image, row) for image, row in zip(pixels, numbers, strict=True)]
        images = Images(
            KeyedRows(pixels, keys), self.card.size, self.fabric.device, numbers=KeyedRows(numbers, keys)
        )

        def augment_batch(rows: np.ndarray, view: int) -> Batch:
            return images.augmented(rows, view, self.augment, self.card.seed, "tta")

        def predict_view(inputs: Inputs, view: int) -> np.ndarray:
            predictor = Predictor(fabric=self.fabric, model=self.network, inputs=inputs, batch_size=BATCH_SIZE)
            return self.task.activate(predictor.predict(np.array(keys, np.uint64), epoch=view))

        total = predict_view(images.plain, 0)
        for view in range(tta):
            total = total + predict_view(augment_batch, view)
        return total / (1 + tta)


class KeyedRows:
    """An array whose rows are looked up by keys in place of 0, 1, 2 ..."""

    def __init__(self, array: np.ndarray, keys: Sequence[int]) -> None:
        self.shape = array.shape
        self._rows = dict(zip(keys, array, strict=True))

    def __getitem__(self, keys: np.ndarray) -> np.ndarray:
        return np.stack([self._rows[key] for key in keys.tolist()])


def _hash_image(pixels: np.ndarray, numbers: np.ndarray) -> int:
    """Return 64 bits made of an image and the numbers beside it."""
    digest = hashlib.sha256(pixels.tobytes() + numbers.tobytes()).digest()
    return int.from_bytes(digest[:8], "little")


def _to_number(value: Any) -> float:
    """Convert a field to a number; NaN where it is missing, or no finite number."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return math.nan
    return number if math.isfinite(number) else math.nan
