"""Decodes every image file of the extracted tar once: into one uint8 array, at one size."""

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Annotated

import numpy as np
from pydantic import Field

from unfreeze.core import tables
from unfreeze.core.arrays import ArrayWriter, write_rows
from unfreeze.core.console import UserError, progress
from unfreeze.core.files import require_space
from unfreeze.core.params import Number, Section
from unfreeze.images.card import write_card
from unfreeze.images.convert import CHANNEL_COUNTS, Channels, Fit, decode_image, is_candidate
from unfreeze.images.members import (
    ExtractedTar,
    Member,
    Rejection,
    iterate_members,
    read_index,
    read_member,
    select_files,
)
from unfreeze.images.outs import IMAGE_COLUMNS, Counts, ImageFiles, write_rejections
from unfreeze.images.pool import WorkerKilledError, count_cores, map_in_order

if TYPE_CHECKING:
    import pandas as pd

CHUNK_FILES, CHUNK_BYTES = 32, 2**23
"""The most files, and about the most bytes of pixels, that a process decodes at once."""


class DecodeParams(Section):
    """The `decode` section."""

    image_size: Annotated[int, Field(ge=16, le=4096)]
    """Height and width in pixels at which every image is stored; about 1.15 x the largest training size."""

    fit: Fit
    """How an image becomes square: `crop` its centre, `squish` it, or `pad` it with its own reflection."""

    channels: Channels
    """What is stored of an image: `rgb`; `grey`, one channel; `rgba`, with its transparency as the fourth. Or of
    the records in JSON files the two radar bands and, as the third, their mean or their ratio (`images.bands`)."""

    max_rejected: Annotated[Number, Field(ge=0, le=1)]
    """Largest share of the images, 0..1, that may be rejected before the stage fails."""

    @property
    def bands(self) -> bool:
        """Whether the pictures are bands of measured values in JSON files, instead of image files."""
        return self.channels.startswith("bands")

    def check_with(self, params: SimpleNamespace) -> Iterator[str]:
        if self.bands and self.fit != "crop":
            yield (
                f"decode.fit = {self.fit} has no effect with decode.channels = {self.channels}: bands are stored "
                "as they are; set crop"
            )


@dataclass(frozen=True)
class Job:
    """What every worker needs besides its chunk."""

    tar: Path
    array: Path
    """The unfinished .npy file that all workers write into."""
    start: int
    """The byte at which its first row begins."""
    params: DecodeParams


@dataclass(frozen=True)
class Chunk:
    """Consecutive candidates, which one worker decodes together."""

    first: int
    """How many candidates there are before them."""
    members: list[Member]


@dataclass(frozen=True)
class ChunkResult:
    """What became of a chunk, whose pixels the worker has written."""

    first: int
    """The row of the first image, if no candidate before it is rejected."""
    images: list[tuple[object, ...]]
    """`IMAGE_COLUMNS` without the row."""
    rejections: list[tuple[str, str]]
    """Path, reason."""


def decode_tar(source: ExtractedTar, params: DecodeParams, out: ImageFiles, workers: int | None = None) -> Counts:
    """Decode every image of `source` and write `out`. The bytes do not depend on `workers`.

    The pixels are uint8 `[images, image_size, image_size, C]`, rows in the order of the paths.

    Args:
        source: the tar and its index.
        out: the files to write. `rejected` is written even if too many are rejected.
        workers: processes; None: one for each core.

    Raises:
        UserError: there is no image, the pixels do not fit on the disk, more than `params.max_rejected` are
            rejected, the tar does not belong to the index, or a process was killed. Only `out.rejected` may be
            written then.
    """
    # 1. List the candidates: some 100 bytes a file.
    files = read_index(source.index)
    candidates = select_files(files, is_candidate)
    if candidates.empty:
        raise UserError(
            f"{source.index} lists {len(files):,} files and none of them can be an image; check extract.source"
        )

    # 2. Decode them. The processes write the pixels, this one keeps the rows of images in order.
    rejections: list[tuple[str, str]] = []
    tail_shape = (params.image_size, params.image_size, CHANNEL_COUNTS[params.channels])
    require_space(out.pixels, len(candidates) * math.prod(tail_shape), "the images")
    with ArrayWriter(out.pixels, tail_shape, np.uint8) as writer:
        job = Job(tar=source.tar, array=writer.temporary, start=writer.start, params=params)

        def image_rows() -> Iterator[tuple[object, ...]]:
            with progress(len(candidates), "decode") as bar:
                for result in _decode_chunks(job, candidates, workers or count_cores()):
                    yield from ((writer.rows + i, *columns) for i, columns in enumerate(result.images))
                    rejections.extend(result.rejections)
                    writer.keep(result.first, len(result.images))
                    bar.update(len(result.images) + len(result.rejections))
            # Here, so that neither images.csv nor the array appears if too many are rejected.
            write_rejections(out.rejected, rejections, len(candidates), params.max_rejected)

        tables.write_rows(out.images, IMAGE_COLUMNS, image_rows())

    # 3. Say how they are stored.
    write_card(out.card, image_size=params.image_size, fit=params.fit, channels=params.channels)
    return Counts(images=writer.rows, rejected=len(rejections), other_files=len(files) - len(candidates))


def _decode_chunks(job: Job, candidates: "pd.DataFrame", workers: int) -> Iterator[ChunkResult]:
    """Decode all candidates in `workers` processes; yield the results in order."""
    length = choose_chunk_length(len(candidates), job.params.image_size, workers)
    members = iterate_members(candidates)
    firsts = range(0, len(candidates), length)
    chunks = (Chunk(first=first, members=list(islice(members, length))) for first in firsts)
    try:
        yield from map_in_order(partial(_decode_chunk, job), chunks, min(workers, len(firsts)))
    except WorkerKilledError as error:
        first, last = error.items[0].members[0], error.items[-1].members[-1]
        raise UserError(
            "a decoding process was killed, for lack of memory or by a fault in a decoder, at one of the "
            f"files from {first.path} to {last.path}; free memory or remove the file"
        ) from None


def choose_chunk_length(candidates: int, image_size: int, workers: int) -> int:
    """Choose how many files a process decodes at once, so that memory suffices and all workers have some."""
    row_bytes = image_size**2 * 3
    return max(1, min(CHUNK_FILES, CHUNK_BYTES // row_bytes, candidates // (4 * workers)))


def _decode_chunk(job: Job, chunk: Chunk) -> ChunkResult:
    """Decode a chunk and write its pixels into the array, without gaps."""
    params = job.params
    pixels, images, rejections = [], [], []
    with job.tar.open("rb") as file:
        for member in chunk.members:
            try:
                image = decode_image(read_member(file, member), params.image_size, params.fit, params.channels)
            except Rejection as reason:
                rejections.append((member.path, str(reason)))
                continue
            pixels.append(image.pixels)
            sha256 = hashlib.sha256(image.pixels).hexdigest()
            images.append((member.path, image.width, image.height, image.mode, sha256, image.format))
    if pixels:
        write_rows(job.array, job.start, chunk.first, np.stack(pixels))
    return ChunkResult(first=chunk.first, images=images, rejections=rejections)
