"""Decodes records with radar bands: JSON files in the extracted tar -> one float32 array, and the records' fields.

A file is a list of objects: `[{"id": "a1", "band_1": [-27.9, ...], "band_2": [...], "inc_angle": 39.2}, ...]`.
Each band holds size x size values in decibels, row by row. Records are read one after another, so that memory does
not grow with the file, and as hostile: what is no usable record is rejected with its reason.
"""

import codecs
import hashlib
import json
from collections.abc import Iterable, Iterator
from math import isqrt
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from unfreeze.console import UserError, progress
from unfreeze.data.images import Channels, DecodeParams, Member, Rejected, Summary, check_rejected
from unfreeze.data.store import ArrayWriter
from unfreeze.files import read_csv, write_csv

BANDS = ("band_1", "band_2")
COLUMNS = ("row", "path", "width", "height", "mode", "pixels_sha256", "format")
"""Of images.csv; the fields of the records come after them."""
CHUNK = 1 << 20
"""Bytes read at once."""
MAX_RECORD = 1 << 24
"""Characters of a record: two bands of 512 x 512 values with 20 digits each have 11 million."""
MAX_FIELDS = 64
"""Different fields of all records together."""
SPACE = " \t\r\n"


def decode_bands(
    tar: Path, index: Path, params: DecodeParams, pixels: Path, images: Path, rejected: Path
) -> Summary:
    """Store the bands of every record in the JSON files of `tar`, in the order of the files' paths.

    Args:
        tar, index: as for `images.decode_tar`.
        pixels: the array to write, float32 `[records, size, size, 3]`: both bands and `third_band` in decibels.
        images: the CSV to write: as for images, with `<path of the file>/<id>` for a path, and then every field of
            the records that is one value, empty where a record has none.
        rejected: the CSV to write: path, reason. It is written even if too many are rejected.

    Raises:
        UserError: there is no record, more than `params.max_rejected` are rejected, or a file breaks off or is
            damaged after its first record. `pixels` and `images` are not written then.
    """
    files = [row for row in read_csv(index) if not row["path"].endswith("/")]
    members = [
        Member(row["path"], int(row["offset"]), int(row["size"])) for row in files if is_records_file(row["path"])
    ]
    if not members:
        raise UserError(
            f"{index} lists {len(files):,} files and none of them is .json, which decode.channels = "
            f"{params.channels} takes; check extract.source, or set decode.channels: rgb for image files"
        )
    found: list[tuple[list[object], dict[str, object]]] = []
    rejected_rows: list[tuple[str, str]] = []
    seen: set[str] = set()
    with (
        ArrayWriter(pixels, (params.size, params.size, 3), np.float32) as writer,
        progress(sum(member.size for member in members), "decode", unit="B") as bar,
        tar.open("rb") as file,
    ):
        for path, record in _all_records(file, members, bar):
            try:
                if isinstance(record, Rejected):
                    raise record
                name, image, fields = read_record(record, params.size, params.channels)
                if name in seen:
                    raise Rejected(f"another record has the id {name}")
            except Rejected as reason:
                rejected_rows.append((path, str(reason)))
                continue
            seen.add(name)
            digest = hashlib.sha256(image).hexdigest()
            found.append(([writer.rows, path, params.size, params.size, "bands", digest, "JSON"], fields))
            writer.append(image[None])
        write_csv(rejected, ("path", "reason"), rejected_rows)
        check_rejected(rejected_rows, len(found) + len(rejected_rows), params.max_rejected, rejected)
    header = _header([fields for _, fields in found], index)
    rows = ([*columns, *(_text(fields.get(name)) for name in header)] for columns, fields in found)
    write_csv(images, (*COLUMNS, *header), rows)
    return Summary(len(found), len(rejected_rows), len(files) - len(members))


def is_records_file(path: str) -> bool:
    """Whether a file is to be read as records, by its name."""
    return path.lower().endswith(".json") and not path.rpartition("/")[2].startswith(".")


def records(chunks: Iterable[bytes], name: str) -> Iterator[object]:
    """The elements of the JSON list whose UTF-8 text `chunks` make up, one at a time.

    Raises:
        Rejected: it is no list of objects.
        UserError: it is damaged or breaks off later on; `name` is what the message calls it.
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
            raise Rejected(f"no list of records: {problem[:200]}")
        if problem:
            raise UserError(f"{name} is damaged after record {count:,}: {problem[:200]}; get it anew")
        chunk = next(chunks, b"")
        ended = not chunk
        try:
            text, at = text[at:] + to_text.decode(chunk, final=ended), 0
        except UnicodeDecodeError as error:
            raise UserError(f"{name} is not UTF-8 text ({error}); get it anew") from None


def read_record(record: object, size: int, channels: Channels) -> tuple[str, np.ndarray, dict[str, object]]:
    """The id of a record, its bands as an image, and its other fields that are single values.

    Returns:
        id: not empty, printable and without slashes, for it becomes the end of a path.
        image: float32 `[size, size, 3]` in decibels: both bands, and their mean (`bands_mean`) or their ratio
            (`bands_ratio`), which of logarithms is the difference band_1 - band_2.
        fields: text, numbers, booleans and None by name, the id among them; lists and objects are left out.

    Raises:
        Rejected: no id, or a band that is missing or does not have size x size finite numbers.
    """
    if not isinstance(record, dict):
        raise Rejected("no object")
    name = _name(record)
    first, second = (_band(record, band, size) for band in BANDS)
    third = (first + second) / 2 if channels == "bands_mean" else first - second
    fields = {
        key: value for key, value in record.items() if key not in BANDS and not isinstance(value, (list, dict))
    }
    return name, np.stack([first, second, third], axis=-1), fields


def _all_records(file: BinaryIO, members: Iterable[Member], bar: Any) -> Iterator[tuple[str, object]]:
    """(path, record) of each record; of a file that has none, its own path and the reason, a Rejected."""
    for member in members:
        file.seek(member.offset)
        try:
            for i, record in enumerate(records(_chunks(file, member, bar), member.path), start=1):
                yield f"{member.path}/{_name_or(record, f'object {i}')}", record
        except Rejected as reason:
            yield member.path, reason


def _chunks(file: BinaryIO, member: Member, bar: Any) -> Iterator[bytes]:
    left = member.size
    while left:
        chunk = file.read(min(CHUNK, left))
        if not chunk:
            raise UserError(f"{file.name} ends before the end of {member.path}; run the extract stage again")
        left -= len(chunk)
        bar.update(len(chunk))
        yield chunk


def _name(record: dict[str, Any]) -> str:
    name = record.get("id")
    text = str(name) if isinstance(name, str | int) and not isinstance(name, bool) else ""
    if not text.strip() or not text.isprintable() or "/" in text or "\\" in text or len(text) > 200:
        raise Rejected(f"id is {str(name)[:50]!r}; a name without slashes is expected")
    return text


def _name_or(record: object, otherwise: str) -> str:
    try:
        return _name(record) if isinstance(record, dict) else otherwise
    except Rejected:
        return otherwise


def _band(record: dict[str, Any], band: str, size: int) -> np.ndarray:
    """A band of a record: float32 `[size, size]`."""
    values = record.get(band)
    if not isinstance(values, list):
        raise Rejected(f"{band} is missing" if values is None else f"{band} is no list")
    if len(values) != size * size:
        side = isqrt(len(values))
        shape = f" ({side} x {side})" if side * side == len(values) else ""
        raise Rejected(f"{band} has {len(values):,} values{shape}, decode.size = {size} takes {size * size:,}")
    if not all(type(value) in (int, float) for value in values):
        raise Rejected(f"{band} holds something that is no number")
    try:
        with np.errstate(over="ignore"):
            pixels = np.array(values, dtype=np.float64).astype(np.float32)
    except OverflowError:
        pixels = np.array([np.inf], dtype=np.float32)
    if not np.isfinite(pixels).all():
        raise Rejected(f"{band} holds a value that is not finite")
    return pixels.reshape(size, size)


def _header(all_fields: list[dict[str, object]], index: Path) -> list[str]:
    """The fields of all records, in the order in which they first come."""
    header = list(dict.fromkeys(key for fields in all_fields for key in fields))
    if taken := sorted(set(header).intersection(COLUMNS)):
        raise UserError(f"the records in {index} have a field {taken[0]!r}, a column of images.csv; rename it")
    if odd := [key for key in header if not key.strip() or not key.isprintable()]:
        raise UserError(f"the records in {index} have a field named {odd[0][:50]!r}; rename it")
    if len(header) > MAX_FIELDS:
        raise UserError(f"the records in {index} have {len(header):,} different fields; {MAX_FIELDS} are allowed")
    return header


def _text(value: object) -> str:
    """A field as text in images.csv: on one line, "" for none."""
    return "" if value is None else " ".join(str(value).split())
