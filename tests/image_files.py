"""Image files for tests, and the tar in which the extract stage leaves files."""

import csv
import hashlib
import io
import struct
import tarfile
import zlib
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Tiff:
    """How `write_tiff` lays pixels into a file."""

    photometric: int = 2
    """1: grey, 2: RGB, 5: CMYK."""
    planar: int = 1
    """1: the channels of a pixel together, 2: a plane for each channel."""
    deflate: bool = False
    extra: tuple[int, ...] = ()
    """ExtraSamples: 0 without a meaning, 1 premultiplied alpha, 2 alpha."""
    tags: tuple[tuple[int, int], ...] = ()
    """More tags of one number."""


def write_tiff(pixels: np.ndarray, how: Tiff = Tiff()) -> bytes:
    """A TIFF of `pixels`, `[H, W, C]`, in their byte order: Pillow writes few kinds of it."""
    order = ">" if pixels.dtype.byteorder == ">" else "<"
    height, width, channels = pixels.shape
    planes = [pixels] if how.planar == 1 else [pixels[..., i] for i in range(channels)]
    strips = [np.ascontiguousarray(plane).tobytes() for plane in planes]
    strips = [zlib.compress(strip) for strip in strips] if how.deflate else strips
    short, long = "H", "I"
    fields = {
        256: (short, [width]), 257: (short, [height]), 258: (short, [pixels.dtype.itemsize * 8] * channels),
        259: (short, [8 if how.deflate else 1]), 262: (short, [how.photometric]), 273: (long, [0] * len(strips)),
        277: (short, [channels]), 278: (short, [height]), 279: (long, [len(strip) for strip in strips]),
        284: (short, [how.planar]),
    }  # fmt: skip
    if how.extra:
        fields[338] = (short, list(how.extra))
    fields |= {tag: (long, [value]) for tag, value in how.tags}
    body, start = b"", 8 + 2 + 12 * len(fields) + 4

    def put(content: bytes) -> int:
        nonlocal body
        at = start + len(body)
        body += content + b"\0" * (len(content) % 2)
        return at

    fields[273] = (long, [put(strip) for strip in strips])
    entries = b""
    for tag, (kind, values) in sorted(fields.items()):
        content = struct.pack(f"{order}{len(values)}{kind}", *values)
        cell = content.ljust(4, b"\0") if len(content) <= 4 else struct.pack(f"{order}I", put(content))
        entries += struct.pack(f"{order}HHI", tag, 3 if kind == short else 4, len(values)) + cell
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}IH", 8, len(fields))
    return head + entries + bytes(4) + body
