"""Decodes every image file of the extracted tar once: into one uint8 array, at one size."""

import hashlib
import logging
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TypeVar

import numpy as np

from unfreeze.core import tables
from unfreeze.core.arrays import ArrayWriter, write_rows
from unfreeze.core.console import UserError, progress
from unfreeze.core.files import require_space
from unfreeze.images.card import write_card
from unfreeze.images.convert import (
    CHANNEL_COUNTS,
    DecodedImage,
    Rules,
    decode_image,
    is_candidate,
)
from unfreeze.images.depth import (
    DeepImage,
    choose_ranges,
    describe_ranges,
    fixed_ranges,
    needs_other_range,
    refuse_blank,
)
from unfreeze.images.formats import recognise_suffix
from unfreeze.images.members import (
    ExtractedTar,
    Member,
    Rejection,
    iterate_members,
    read_index,
    read_member,
    select_files,
)
from unfreeze.images.outs import (
    IMAGE_COLUMNS,
    Counts,
    ImageFiles,
    group_by_reason,
    write_rejections,
)
from unfreeze.images.params import DecodeParams
from unfreeze.images.pool import WorkerKilledError, count_cores, map_in_order
from unfreeze.images.values import Extent, Ranges

if TYPE_CHECKING:
    import pandas as pd

Result = TypeVar("Result")

CHUNK_FILES, CHUNK_BYTES = 32, 2**23
"""The most files, and about the most bytes of pixels, that a process decodes at once."""


@dataclass(frozen=True)
class Job:
    """What every worker needs besides its chunk."""

    tar: Path
    array: Path
    """The unfinished .npy file that all workers write into."""
    start: int
    """The byte at which its first row begins."""
    params: DecodeParams
    rules: Rules


@dataclass(frozen=True)
class Chunk:
    """Consecutive candidates, which one worker decodes together."""

    first: int
    """How many candidates there are before them."""
    members: list[Member]
    rows: Sequence[int] = ()
    """Which rows the members have, if they are decoded again."""


@dataclass(frozen=True)
class ChunkResult:
    """What became of a chunk, whose pixels the worker has written."""

    first: int
    """The row of the first image, if no candidate before it is rejected."""
    images: list[tuple[object, ...]]
    """`IMAGE_COLUMNS` without the row."""
    rejections: list[tuple[str, str]]
    """Path, reason."""
    notes: list[tuple[str, str]]
    """Path, what is left out of the image."""
    deep: list[tuple[int, int, Extent]]
    """Of each image with more than 8 bits a channel its places in `images` and in the chunk, and its extent."""


@dataclass
class Findings:
    """What was found about the images of a data set."""

    rejections: list[tuple[str, str]] = field(default_factory=list)
    notes: list[tuple[str, str]] = field(default_factory=list)
    deep: list[DeepImage] = field(default_factory=list)
    ranges: Ranges = field(default_factory=dict)
    """Of the whole data set."""
    hashes: dict[int, str] = field(default_factory=dict)
    """Of the rows that were decoded again: SHA-256 of the pixels."""


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
    passed_over = _describe_passed_over(files.drop(candidates.index)["path"])
    if candidates.empty:
        raise UserError(
            f"{source.index} lists {len(files):,} files and none of them can be an image; check extract.source"
            + "".join(f"\n  {line}" for line in passed_over)
        )

    # 2. Decode them. The processes write the pixels, this one keeps the rows of images in order.
    found, workers = Findings(), workers or count_cores()
    tail_shape = (params.image_size, params.image_size, CHANNEL_COUNTS[params.channels])
    require_space(out.pixels, len(candidates) * math.prod(tail_shape), "the images")
    with ArrayWriter(out.pixels, tail_shape, np.uint8) as writer:
        rules = Rules(max_pixels=params.max_pixels, ranges=fixed_ranges(params.range))
        job = Job(tar=source.tar, array=writer.temporary, start=writer.start, params=params, rules=rules)

        def image_rows() -> Iterator[tuple[object, ...]]:
            with progress(len(candidates), "decode") as bar:
                for result in _decode_chunks(job, candidates, workers):
                    yield from ((writer.rows + i, *columns) for i, columns in enumerate(result.images))
                    found.deep.extend(
                        DeepImage(row=writer.rows + i, candidate=result.first + place, extent=extent)
                        for i, place, extent in result.deep
                    )
                    found.rejections.extend(result.rejections)
                    found.notes.extend(result.notes)
                    writer.keep(result.first, len(result.images))
                    bar.update(len(result.images) + len(result.rejections))
            # Here, so that neither images.csv nor the array appears if an error stops the stage.
            write_rejections(out.rejected, found.rejections, len(candidates), params.max_rejected)
            _decode_deep_again(job, candidates, found, workers)
            pixels = np.memmap(job.array, np.uint8, "r", job.start, (writer.rows, *tail_shape))
            refuse_blank(pixels, params.range)

        tables.write_rows(out.images, IMAGE_COLUMNS, image_rows())
        if found.hashes:
            _replace_hashes(out.images, found.hashes)

    # 3. Say how they are stored.
    lines = describe_ranges(found.deep, found.ranges, candidates["path"])
    if params.range != "auto" and "integers" not in found.ranges:
        lines.append(f"decode.range = {params.range} has no effect: no image has integers of more than 8 bits")
    for line in [*lines, *group_by_reason(found.notes), *passed_over]:
        logging.getLogger(__name__).info(line)
    write_card(
        out.card, image_size=params.image_size, fit=params.fit, channels=params.channels, ranges=found.ranges
    )
    return Counts(images=writer.rows, rejected=len(found.rejections), other_files=len(files) - len(candidates))


def _describe_passed_over(paths: Iterable[str]) -> list[str]:
    """Say which files are not tried because their suffix names a format of pictures that is not read."""
    known = ((path, recognise_suffix(path)) for path in paths)
    return group_by_reason((path, format.reason) for path, format in known if format)


def _decode_chunks(job: Job, candidates: "pd.DataFrame", workers: int) -> Iterator[ChunkResult]:
    """Decode all candidates in `workers` processes; yield the results in order."""
    length = choose_chunk_length(len(candidates), job.params.image_size, workers)
    members = iterate_members(candidates)
    firsts = range(0, len(candidates), length)
    chunks = (Chunk(first=first, members=list(islice(members, length))) for first in firsts)
    yield from _map_chunks(partial(_decode_chunk, job), chunks, min(workers, len(firsts)))


def _map_chunks(function: Callable[[Chunk], Result], chunks: Iterable[Chunk], workers: int) -> Iterator[Result]:
    """Yield what `function` makes of each chunk; a killed process is an error that names its files."""
    try:
        yield from map_in_order(function, chunks, workers)
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
    pixels, result = [], ChunkResult(first=chunk.first, images=[], rejections=[], notes=[], deep=[])
    with job.tar.open("rb") as file:
        for place, member in enumerate(chunk.members):
            try:
                image = _decode_member(job, file, member)
            except Rejection as reason:
                result.rejections.append((member.path, str(reason)))
                continue
            if image.extent:
                result.deep.append((len(pixels), place, image.extent))
            result.notes.extend((member.path, note) for note in image.notes)
            pixels.append(image.pixels)
            sha256 = hashlib.sha256(image.pixels).hexdigest()
            result.images.append((member.path, image.width, image.height, image.mode, sha256, image.format))
    if pixels:
        write_rows(job.array, job.start, chunk.first, np.stack(pixels))
    return result


def _decode_member(job: Job, file: BinaryIO, member: Member) -> DecodedImage:
    params = job.params
    how = (params.image_size, params.fit, params.channels, member.path, job.rules)
    return decode_image(read_member(file, member), *how)


# --- Images of more than 8 bits a channel


def _decode_deep_again(job: Job, candidates: "pd.DataFrame", found: Findings, workers: int) -> None:
    """Choose the ranges of the data set, and decode anew what was decoded by another one."""
    found.ranges = choose_ranges(found.deep, job.rules.ranges)
    again = [image for image in found.deep if needs_other_range(image, job.rules.ranges, found.ranges)]
    if not again:
        return
    job = replace(job, rules=replace(job.rules, ranges=found.ranges))
    members = iterate_members(candidates.iloc[[image.candidate for image in again]])
    length = choose_chunk_length(len(again), job.params.image_size, workers)
    firsts = range(0, len(again), length)
    chunks = (
        Chunk(
            first=first,
            members=list(islice(members, length)),
            rows=[image.row for image in again[first : first + length]],
        )
        for first in firsts
    )
    with progress(len(again), "decode again") as bar:
        for hashes in _map_chunks(partial(_decode_rows, job), chunks, min(workers, len(firsts))):
            found.hashes.update(hashes)
            bar.update(len(hashes))


def _decode_rows(job: Job, chunk: Chunk) -> dict[int, str]:
    """Decode members into the rows that they have; return the SHA-256 of the pixels of each row."""
    hashes = {}
    with job.tar.open("rb") as file:
        for row, member in zip(chunk.rows, chunk.members, strict=True):
            try:
                image = _decode_member(job, file, member)
            except Rejection as reason:
                raise UserError(
                    f"{member.path} cannot be read by the range of the other images: {reason}; remove it, or set "
                    "decode.range: 16, which takes the upper bytes of all"
                ) from None
            write_rows(job.array, job.start, row, image.pixels[None])
            hashes[row] = hashlib.sha256(image.pixels).hexdigest()
    return hashes


def _replace_hashes(images: Path, hashes: dict[int, str]) -> None:
    """Write images.csv again with the SHA-256 of the pixels of some rows."""
    frame = tables.read(images)
    column = frame["pixels_sha256"].to_numpy(object)
    column[list(hashes)] = list(hashes.values())
    frame["pixels_sha256"] = column
    tables.write_rows(images, IMAGE_COLUMNS, frame.itertuples(index=False, name=None))
