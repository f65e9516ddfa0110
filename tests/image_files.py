"""Image files for tests, and the tar in which the extract stage leaves files."""

import csv
import hashlib
import io
import struct
import tarfile
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

from unfreeze.core import tables

PHOTO = Image.fromarray(np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)).resize(
    (70, 50), Image.Resampling.BICUBIC
)
LFS_POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 12345\n"


def encode(image: Image.Image, format: str = "PNG", **options) -> bytes:
    """The content of a file of `image`."""
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width, height, depth, colour, rows=b"", extra=b""):
    """A PNG put together by hand, for what Pillow does not write."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    body = chunk(b"IHDR", header) + extra + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def grey(values, dtype, format="TIFF"):
    return encode(Image.fromarray(np.array([values] * 4, dtype)), format)


def pack(folder: Path, files: dict[str, bytes]) -> None:
    """Write extracted.tar and extracted.csv as the extract stage does, with an empty folder."""
    rows = []
    with tarfile.open(folder / "extracted.tar", "w") as tar:
        for path, data in sorted(files.items()):
            member = tarfile.TarInfo(path)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
            offset = tar.offset - -(-len(data) // 512) * 512  # its content ends where the next header begins
            rows.append((path, offset, len(data), hashlib.sha256(data).hexdigest()))
    rows.append(("empty folder/", 0, 0, ""))
    with (folder / "extracted.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("path", "offset", "size", "sha256"), *sorted(rows)])


def read_rows(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV, all cells as text."""
    return tables.read(path).to_dict("records")
