"""Decodes records with radar bands: JSON files in the extracted tar -> one float32 array, and the records' fields.

A file is a list of objects: `[{"id": "a1", "band_1": [-27.9, ...], "band_2": [...], "inc_angle": 39.2}, ...]`.
Each band holds image_size x image_size values in decibels, row by row. Records are read one after another, so that
memory does not grow with the file. Their content is hostile: a record that cannot be used is rejected with its
reason.
"""

import codecs
import hashlib
import json
from collections.abc import Iterable, Iterator
from itertools import islice
from math import isqrt
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from unfreeze.core import tables
from unfreeze.core.arrays import ArrayWriter
from unfreeze.core.console import UserError, progress
from unfreeze.images.card import write_card
from unfreeze.images.convert import Channels
from unfreeze.images.members import ExtractedTar, Member, Rejection, iterate_members, read_index, select_files
from unfreeze.images.outs import IMAGE_COLUMNS, Counts, ImageFiles, write_rejections
from unfreeze.images.params import DecodeParams

BANDS = ("band_1", "band_2")
READ_BYTES = 1 << 20
"""Bytes read at once."""
MAX_RECORD = 1 << 24
"""Characters of a record: two bands of 512 x 512 values with 20 digits each have 11 million."""
MAX_FIELDS = 64
"""Different fields of all records together."""
SPACE = " \t\r\n"


class BandImage(NamedTuple):
    """What a record holds."""

    id: str
    """Not empty, printable and without slashes: it becomes the end of a path."""
    pixels: np.ndarray
    """float32 `[image_size, image_size, 3]` in decibels: both bands, and their mean (`bands_mean`) or their ratio
    (`bands_ratio`), which of logarithms is the difference band_1 - band_2."""
    fields: dict[str, object]
    """Text, numbers, booleans and None by name, the id among them. Lists and objects are left out."""


def decode_bands(source: ExtractedTar, params: DecodeParams, out: ImageFiles) -> Counts:
    """Store the bands of every record in the JSON files of `source`, in the order of the files' paths.

    The pixels are float32 `[records, image_size, image_size, 3]` (`BandImage.pixels`). In images.csv the path is
    `<path of the file>/<id>`, and every field of the records that is one value follows the columns of images,
    empty where a record has none.

    Args:
        source: the tar and its index.
        out: the files to write. `rejected` is written even if too many are rejected.

    Raises:
        UserError: there is no record, more than `params.max_rejected` are rejected, the records' fields cannot be
            columns, or a file breaks off or is damaged after its first record. Only `out.rejected` may be written
            then.
    """
    # 1. List the files of records.
    files = read_index(source.index)
    members = list(iterate_members(select_files(files, is_records_file)))
    if not members:
        raise UserError(
            f"{source.index} lists {len(files):,} files and none of them is .json, which decode.channels = "
            f"{params.channels} takes; check extract.source, or set decode.channels: rgb for image files"
        )

    # 2. Read the records. A row holds texts, as far as fields are known by then: fewer than the last row may have.
    rows: list[tuple[str, ...]] = []
    rejections: list[tuple[str, str]] = []
    ids: set[str] = set()
    field_names: dict[str, None] = {}  # in the order in which they first come
    size = params.image_size
    with ArrayWriter(out.pixels, (size, size, 3), np.float32) as writer:
        total = sum(member.size for member in members)
        with progress(total, "decode", unit="B") as bar, source.tar.open("rb") as file:
            for path, record in _iterate_records(file, members, bar):
                try:
                    if isinstance(record, Rejection):
                        raise record
                    image = read_record(record, size, params.channels)
                    if image.id in ids:
                        raise Rejection(f"another record has the id {image.id}")
                except Rejection as reason:
                    rejections.append((path, str(reason)))
                    continue
                ids.add(image.id)
                field_names.update(dict.fromkeys(image.fields))
                texts = (_to_text(image.fields.get(name)) for name in islice(field_names, MAX_FIELDS))
                rows.append((path, hashlib.sha256(image.pixels).hexdigest(), *texts))
                writer.append(image.pixels[None])

        # 3. Check all of them before any file but rejected.csv appears.
        write_rejections(out.rejected, rejections, len(rows) + len(rejections), params.max_rejected)
        _check_field_names(list(field_names), source.index)

        # 4. Write what else is known of the rows.
        def image_rows() -> Iterator[tuple[object, ...]]:
            for i, (path, sha256, *texts) in enumerate(rows):
                padding = [""] * (len(field_names) - len(texts))
                yield (i, path, size, size, "bands", sha256, "JSON", *texts, *padding)

        tables.write_rows(out.images, (*IMAGE_COLUMNS, *field_names), image_rows())
    write_card(out.card, image_size=size, fit=params.fit, channels=params.channels)
    return Counts(images=len(rows), rejected=len(rejections), other_files=len(files) - len(members))


def is_records_file(path: str) -> bool:
    """Tell by its name whether a file is to be read as records."""
    return path.lower().endswith(".json") and not path.rpartition("/")[2].startswith(".")


def parse_records(chunks: Iterable[bytes], name: str) -> Iterator[dict[str, Any]]:
    """Yield the elements of a JSON list one at a time; `chunks` are the pieces of its UTF-8 text.

    Raises:
        Rejection: it is no list of objects.
        UserError: it is damaged or breaks off after its first object. The message calls it `name`.
    """
    decoder, to_text = json.JSONDecoder(), codecs.getincrementaldecoder("utf-8-sig")()
    chunks, text, at, ended, count = iter(chunks), "", 0, False, 0
    after = {"[": "{]", ",": "{", "]": ""}
    expected = "["
    while True:
        while at < len(text) and text[at] in SPACE:
            at += 1
        problem = ""
        if at < len(text):
            if text[at] not in expected:
                what = f"one of {' '.join(expected)}" if expected else "its end"
                problem = f"{text[at : at + 20]!r} stands where {what} is expected"
            elif text[at] in after:
                expected, at = after[text[at]], at + 1
                continue
            else:
                try:
                    record, at = decoder.raw_decode(text, at)
                except (ValueError, RecursionError) as error:  # it may only lack its end
                    problem = str(error) if ended or len(text) - at > MAX_RECORD else ""
                else:
                    yield record
                    expected, count = ",]", count + 1
                    continue
        if ended and not expected and count and not problem:
            return
        if ended:
            problem = problem or ("it breaks off" if expected else "it is empty")
        if problem and not count:
            raise Rejection(f"no list of records: {problem[:200]}")
        if problem:
            raise UserError(f"{name} is damaged after record {count:,}: {problem[:200]}; get it anew")
        chunk = next(chunks, b"")
        ended = not chunk
        try:
            text, at = text[at:] + to_text.decode(chunk, final=ended), 0
        except UnicodeDecodeError as error:
            raise UserError(f"{name} is not UTF-8 text ({error}); get it anew") from None


def read_record(record: object, image_size: int, channels: Channels) -> BandImage:
    """Read the id of a record, its bands as an image, and its other fields that are single values.

    Raises:
        Rejection: there is no id, a band is missing or does not have image_size x image_size finite numbers, or a
            text is no Unicode.
    """
    if not isinstance(record, dict):
        raise Rejection("no object")
    id = _read_id(record)
    first, second = (_read_band(record, band, image_size) for band in BANDS)
    third = (first + second) / 2 if channels == "bands_mean" else first - second
    fields = {
        key: value for key, value in record.items() if key not in BANDS and not isinstance(value, (list, dict))
    }
    for key, value in fields.items():
        if isinstance(value, str) and not value.isascii() and any("\ud800" <= c <= "\udfff" for c in value):
            raise Rejection(f"{key[:50]!r} holds half of a surrogate pair, which is no Unicode text")
    return BandImage(id=id, pixels=np.stack([first, second, third], axis=-1), fields=fields)


def _iterate_records(
    file: BinaryIO, members: Iterable[Member], bar: Any
) -> Iterator[tuple[str, dict[str, Any] | Rejection]]:
    """Yield (path, record) for each record, and (path of the file, reason) for a file that has none."""
    for member in members:
        file.seek(member.offset)
        try:
            for i, record in enumerate(parse_records(_read_pieces(file, member, bar), member.path), start=1):
                yield f"{member.path}/{_name_record(record, i)}", record
        except Rejection as reason:
            yield member.path, reason


def _read_pieces(file: BinaryIO, member: Member, bar: Any) -> Iterator[bytes]:
    """Read a member piece by piece from where `file` stands, and tell the progress `bar`."""
    left = member.size
    while left:
        piece = file.read(min(READ_BYTES, left))
        if not piece:
            raise UserError(f"{file.name} ends before the end of {member.path}; run the extract stage again")
        left -= len(piece)
        bar.update(len(piece))
        yield piece


def _read_id(record: dict[str, Any]) -> str:
    id = record.get("id")
    text = str(id) if isinstance(id, str | int) and not isinstance(id, bool) else ""
    if not text.strip() or not text.isprintable() or "/" in text or "\\" in text or len(text) > 200:
        raise Rejection(f"id is {str(id)[:50]!r}; a name without slashes is expected")
    return text


def _name_record(record: dict[str, Any], number: int) -> str:
    """Name a record by its id, or by its number in the file, from 1, if it has no usable one."""
    try:
        return _read_id(record)
    except Rejection:
        return f"object {number}"


def _read_band(record: dict[str, Any], band: str, image_size: int) -> np.ndarray:
    """Read a band of a record: float32 `[image_size, image_size]`."""
    values = record.get(band)
    if not isinstance(values, list):
        raise Rejection(f"{band} is missing" if values is None else f"{band} is no list")
    if len(values) != image_size**2:
        side = isqrt(len(values))
        shape = f" ({side} x {side})" if side * side == len(values) else ""
        raise Rejection(
            f"{band} has {len(values):,} values{shape}, decode.image_size = {image_size} takes {image_size**2:,}"
        )
    if not all(type(value) in (int, float) for value in values):
        raise Rejection(f"{band} holds something that is no number")
    try:
        with np.errstate(over="ignore"):
            pixels = np.array(values, dtype=np.float64).astype(np.float32)
    except OverflowError:
        pixels = np.array([np.inf], dtype=np.float32)
    if not np.isfinite(pixels).all():
        raise Rejection(f"{band} holds a value that is not finite")
    return pixels.reshape(image_size, image_size)


def _check_field_names(names: list[str], index: Path) -> None:
    """Refuse fields that cannot be columns of images.csv."""
    if taken := sorted(set(names).intersection(IMAGE_COLUMNS)):
        raise UserError(f"the records in {index} have a field {taken[0]!r}, a column of images.csv; rename it")
    if odd := [name for name in names if not name.strip() or not name.isprintable()]:
        raise UserError(f"the records in {index} have a field named {odd[0][:50]!r}; rename it")
    if len(names) > MAX_FIELDS:
        raise UserError(f"the records in {index} have {len(names):,} different fields; {MAX_FIELDS} are allowed")


def _to_text(value: object) -> str:
    """Write a field as text for images.csv: on one line, "" for None."""
    return "" if value is None else " ".join(str(value).split())
