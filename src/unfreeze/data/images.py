"""Decodes every image once: members of the extracted tar -> one uint8 array at one stored size."""

import hashlib
import io
import os
import re
import signal
import sys
import threading
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from multiprocessing import get_context, parent_process
from pathlib import Path, PurePosixPath
from types import SimpleNamespace
from typing import TYPE_CHECKING, Annotated, BinaryIO, Literal, NamedTuple

import numpy as np
from pydantic import Field

from unfreeze.console import UserError, progress
from unfreeze.data.store import ArrayWriter, write_rows
from unfreeze.files import read_table, write_csv
from unfreeze.params import Number, Section

if TYPE_CHECKING:
    from PIL.Image import Image as PILImage

Fit = Literal["crop", "squish", "pad"]
Box = tuple[float, float, float, float]
"""Left, top, right, bottom, in pixels."""
Channels = Literal["rgb", "grey", "rgba", "bands_mean", "bands_ratio"]


class DecodeParams(Section):
    """The `decode` section."""

    size: Annotated[int, Field(ge=16, le=4096)]
    """Height and width in pixels at which every image is stored; about 1.15 x the largest training size."""

    fit: Fit
    """How an image becomes square: `crop` its centre, `squish` it, or `pad` it with its own reflection."""

    channels: Channels
    """What is stored of an image: `rgb`; `grey`, one channel; `rgba`, with its transparency as the fourth. Or of
    the records of JSON files the two radar bands and, as the third, their mean or their ratio (`data.bands`)."""

    max_rejected: Annotated[Number, Field(ge=0, le=1)]
    """Largest share of the images, 0..1, that may be rejected before the stage fails."""

    @property
    def bands(self) -> bool:
        """Whether the pictures are bands of measured values in JSON files, instead of image files."""
        return self.channels.startswith("bands")

    def check_with(self, params: SimpleNamespace) -> None:
        if self.bands and self.fit != "crop":
            raise ValueError(
                f"decode.fit = {self.fit} has no effect with decode.channels = {self.channels}: bands are stored "
                "as they are; set crop"
            )


class Decoded(NamedTuple):
    """One decoded image."""

    pixels: np.ndarray
    """uint8 `[size, size, C]`: RGB, or the other channels that were asked for."""
    width: int
    """Of the source in pixels, upright."""
    height: int
    mode: str
    """Pillow's mode of the source, such as `RGB`, `P` or `I;16`."""
    format: str
    """Pillow's name of the source's format, such as `JPEG`, recognised by its content."""


class Rejected(Exception):
    """A file that is no usable image; the message is the reason."""


class Member(NamedTuple):
    """Where the tar holds a file: `size` bytes from `offset`."""

    path: str
    offset: int
    size: int


class Summary(NamedTuple):
    """How many files went where."""

    images: int
    rejected: int
    passed_over: int


# What Pillow decodes by itself, in the order of trying. EPS is left out: it would run Ghostscript.
FORMATS = (
    *("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "AVIF", "JPEG2000", "PPM", "TGA", "ICO", "ICNS", "PCX"),
    *("PSD", "QOI", "SGI", "SUN", "DDS", "DIB"),
)

# Files with these suffixes are never tried as images.
NOT_IMAGES = re.compile(
    r"""[.](
        csv|tsv|xlsx?|ods|parquet|feather|arrow|db|sqlite|json|jsonl|geojson|xml|ya?ml|toml|ini|cfg  # tables
        |txt|text|md|rst|log|html?|css|pdf|docx?|odt|rtf|pptx?|tex|bib|sha256|md5                    # texts
        |py|pyc|ipynb|r|m|js|c|h|cpp|java|sh|bat|exe|so|dll|jar                                      # code
        |npy|npz|mat|h5|hdf5|pkl|pickle|pt|pth|ckpt|onnx|safetensors|tfrecord|pb|lst|rec|idx         # arrays
        |zip|tar|gz|tgz|bz2|xz|zst|7z|rar|mp3|wav|flac|ogg|mp4|avi|mov|mkv|webm                      # others
    )""",
    re.VERBOSE | re.IGNORECASE,
)

MAX_BYTES = 2**30  # of a file: the largest raw image within Pillow's pixel limit is smaller

_COUNT = {"rgb": 3, "grey": 1, "rgba": 4}
"""Channels that are stored of an image file."""

ROOM = 2
"""A JPEG is decoded at a half, a quarter or an eighth where this leaves `ROOM` times the stored pixels a side."""

# EXIF orientation -> the name in PIL.Image.Transpose that puts the image upright
_UPRIGHT = {
    2: "FLIP_LEFT_RIGHT",
    3: "ROTATE_180",
    4: "FLIP_TOP_BOTTOM",
    5: "TRANSPOSE",
    6: "ROTATE_270",
    7: "TRANSVERSE",
    8: "ROTATE_90",
}
_FROM_THE_RIGHT, _FROM_BELOW = (2, 3, 6, 7), (3, 4, 7, 8)
"""Orientations that put the end of a stored line or column at the left, or at the top."""


def is_candidate(path: str) -> bool:
    """Whether a file is to be tried as an image.

    Everything is, whatever its suffix, except files with a suffix known for something else (`NOT_IMAGES`),
    hidden files (`.DS_Store`, macOS' `._photo.jpg`), `Thumbs.db` and what lies in `__MACOSX`.
    """
    name = PurePosixPath(path)
    return not (NOT_IMAGES.fullmatch(name.suffix) or name.name.startswith(".") or "__MACOSX" in name.parts)


def decode_image(data: bytes, size: int, fit: Fit, channels: Channels = "rgb") -> Decoded:
    """Decode an image file's content to `size` x `size` pixels of `channels` (no bands), upright.

    The format is recognised by content. Of an animation or a stack of pages the first one counts.
    Resampling is Pillow's antialiased bilinear, done once, straight from the source's pixels (but see below):

    - `crop`: the shorter side becomes `size`, then the centre is cut out, at torchvision's offsets;
    - `squish`: both sides become `size`, the proportions are lost;
    - `pad`: the longer side becomes `size`, the rest is the image's own reflection, which unlike black bars
      adds no edges.

    Colours, by the source's mode:

    - `RGB`, `L`, `1`, `P`, `YCbCr`, `LAB`, `CMYK` (and YCCK): Pillow's conversion to RGB. Embedded ICC
      profiles are ignored, as by every common training library.
    - anything with transparency (`RGBA`, `LA`, `PA`, or a transparent colour): laid on white, as viewers show
      it; what stands under transparent pixels is arbitrary.
    - 16 bits a channel (`I;16`, 16-bit RGB): the upper byte, so that 65,535 is white, never clipped.
    - `I` (wider integers): as 16 bits where the values fit into 0..65,535, else stretched from minimum to
      maximum.
    - `F` (floating point): the smallest of 1, 255 and 65,535 that no value exceeds is white; with negative or
      larger values the image is stretched from minimum to maximum.

    `grey` is the luma of that RGB (ITU-R 601), which of a grey image is the image itself. `rgba` is not laid on
    white: transparency is the fourth channel, 255 where the image is opaque, and pixels that nobody can see are 0
    in all channels.

    A JPEG of at least 4 times (`2 * ROOM`) the stored pixels a side is decoded at a half, a quarter or an eighth,
    as far as `ROOM` times the stored pixels are left: libjpeg then computes no more than the frequencies that the
    resampling keeps. Photographs of 12 megapixels stored at 128 to 512 pixels differ by an RMSE of 0.5 levels of
    255 and by 3 at most, and take 37 to 60% of the time (benchmarks/decode.py). Smaller JPEGs and all other
    formats are exact.

    Raises:
        Rejected: empty, a Git-LFS pointer, no image, too large, truncated or damaged. A damaged EXIF block
            alone is no reason: the image is then taken as it lies.
    """
    from PIL import Image

    _recognise(data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's complaints about odd metadata
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            with Image.open(io.BytesIO(data), formats=FORMATS) as image:
                mode, format, (width, height) = image.mode, image.format or "", image.size
                scale = _draft(image, size, fit)
                image.load()
                orientation = _orientation(image)
                converted = _convert(image, channels)
        except Exception as error:  # whatever a hostile file makes a decoder raise, MemoryError included
            raise Rejected(_reason(error)) from None
    if orientation in _UPRIGHT:
        converted = converted.transpose(Image.Transpose[_UPRIGHT[orientation]])
        width, height = (height, width) if orientation >= 5 else (width, height)
    # The last pixel of a line or column may lie partly beyond the image, as what JPEG fills its blocks up with.
    left = converted.width - width / scale if orientation in _FROM_THE_RIGHT else 0
    top = converted.height - height / scale if orientation in _FROM_BELOW else 0
    area = (left, top, left + width / scale, top + height / scale)
    pixels = _fit(converted, area, (width, height), size, fit).reshape(size, size, -1)
    if channels == "rgba":
        pixels = np.where(pixels[..., 3:] > 0, pixels, 0)
    return Decoded(pixels, width, height, mode, format)


def decode_tar(
    tar: Path,
    index: Path,
    params: DecodeParams,
    pixels: Path,
    images: Path,
    rejected: Path,
    workers: int | None = None,
) -> Summary:
    """Decode every image of `tar` and store all of them; the results do not depend on `workers`.

    Args:
        tar: an uncompressed tar.
        index: its CSV with path, offset and size, sorted by path; paths that end in "/" are empty folders.
        pixels: the array to write, uint8 `[images, size, size, C]`, rows in path order.
        images: the CSV to write: row, path, width, height, mode, pixels_sha256, format.
        rejected: the CSV to write: path, reason. It is written even if too many are rejected.
        workers: processes, by default one for each core.

    Raises:
        UserError: there is no image, more than `params.max_rejected` are rejected, the tar does not belong to
            the index, or a process was killed. `pixels` and `images` are not written then.
    """
    rows = read_table(index, ["path", "offset", "size"])
    files = sum(not path.endswith("/") for path in rows.columns["path"])
    members = [
        Member(row["path"], int(row["offset"]), int(row["size"]))
        for row in rows
        if not row["path"].endswith("/") and is_candidate(row["path"])
    ]
    del rows
    if not members:
        raise UserError(f"{index} lists {files:,} files and none of them can be an image; check extract.source")
    workers = workers or _cores()
    chunks = _chunks(members, params.size, workers)
    rejected_rows: list[tuple[str, str]] = []

    def image_rows() -> Iterator[tuple[object, ...]]:
        how = (params.size, params.fit, params.channels)
        decode = partial(_decode_chunk, tar, writer.temporary, writer.start, *how)
        with progress(len(members), "decode") as bar:
            for block in _decode_in_order(decode, chunks, workers):
                yield from ((writer.rows + i, *columns) for i, columns in enumerate(block.images))
                rejected_rows.extend(block.rejected)
                writer.keep(block.first, len(block.images))
                bar.update(len(block.images) + len(block.rejected))
        write_csv(rejected, ("path", "reason"), rejected_rows)
        check_rejected(rejected_rows, len(members), params.max_rejected, rejected)

    with ArrayWriter(pixels, (params.size, params.size, _COUNT[params.channels]), np.uint8) as writer:
        write_csv(images, ("row", "path", "width", "height", "mode", "pixels_sha256", "format"), image_rows())
    return Summary(writer.rows, len(rejected_rows), files - len(members))


def check_rejected(rejected: list[tuple[str, str]], candidates: int, share: float, path: Path) -> None:
    """Raise a UserError that lists them if all candidates, or more than `share` of them, are rejected."""
    if len(rejected) < candidates and len(rejected) / candidates <= share:
        return
    listed = [f"  {name}: {reason}" for name, reason in rejected[:20]]
    if len(rejected) > len(listed):
        listed.append(f"  ... and {len(rejected) - len(listed):,} more")
    raise UserError(
        f"{len(rejected):,} of {candidates:,} images cannot be used, decode.max_rejected allows a share of "
        f"{share}; mend or remove these files (all are in {path}) or raise the share:\n" + "\n".join(listed)
    )


class _Block(NamedTuple):
    """What a worker hands back for some consecutive members, whose pixels it has written."""

    first: int  # row of the first image, if no member before it is rejected
    images: list[tuple[object, ...]]  # path, width, height, mode, pixels_sha256, format
    rejected: list[tuple[str, str]]  # path, reason


class _Chunk(NamedTuple):
    """Consecutive members, and how many there are before them."""

    first: int
    members: Sequence[Member]


def _chunks(members: Sequence[Member], size: int, workers: int) -> list[_Chunk]:
    """At most 32 members and some 8 MiB of pixels each, and enough of them for all workers."""
    rows = max(1, min(32, 2**23 // (size * size * 3), len(members) // (4 * workers)))
    return [_Chunk(i, members[i : i + rows]) for i in range(0, len(members), rows)]


def _decode_chunk(
    tar: Path, array: Path, start: int, size: int, fit: Fit, channels: Channels, chunk: _Chunk
) -> _Block:
    pixels, images, rejected = [], [], []
    with tar.open("rb") as file:
        for member in chunk.members:
            try:
                decoded = decode_image(read_member(file, member), size, fit, channels)
            except Rejected as reason:
                rejected.append((member.path, str(reason)))
                continue
            pixels.append(decoded.pixels)
            sha256 = hashlib.sha256(decoded.pixels).hexdigest()
            images.append((member.path, *decoded[1:4], sha256, decoded.format))
    if pixels:
        write_rows(array, start, chunk.first, np.stack(pixels))
    return _Block(chunk.first, images, rejected)


def read_member(file: BinaryIO, member: Member) -> bytes:
    """The content of `member` in the extracted tar `file`; Rejected if it is too large."""
    if member.size > MAX_BYTES:
        raise Rejected(f"larger than {MAX_BYTES:,} bytes")
    file.seek(member.offset)
    data = file.read(member.size)
    if len(data) < member.size:
        raise UserError(f"{file.name} ends before the end of {member.path}; run the extract stage again")
    return data


def _decode_in_order(
    decode: Callable[[_Chunk], _Block], chunks: Sequence[_Chunk], workers: int
) -> Iterator[_Block]:
    """`decode(chunk)` of each chunk, in order; few are under way at once, so that memory does not grow."""
    workers = min(workers, len(chunks))
    if workers == 1:
        yield from map(decode, chunks)
        return
    # A fork costs 0.01 s, a fresh interpreter 0.3 s; other systems' libraries do not stand being forked.
    context = get_context("fork" if sys.platform == "linux" else "spawn")
    pool = ProcessPoolExecutor(workers, context, _start_worker)
    running: deque[Future[_Block]] = deque()
    done = 0
    try:
        for chunk in chunks:
            running.append(pool.submit(decode, chunk))
            if len(running) > 2 * workers:
                yield running.popleft().result()
                done += 1
        while running:
            yield running.popleft().result()
            done += 1
    except BrokenProcessPool:
        suspects = [member.path for chunk in chunks[done : done + 2 * workers + 1] for member in chunk.members]
        raise UserError(
            "a decoding process was killed, for lack of memory or by a fault in a decoder, at one of the "
            f"files from {suspects[0]} to {suspects[-1]}; free memory or remove the file"
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


def _cores() -> int:
    """The cores this process may use, where the system tells."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _start_worker() -> None:
    """Leave Ctrl-C to the parent, end with it however it ends, and keep libtiff quiet."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # libtiff prints a line for each odd tag and names no file; errors reach the parent by another way.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)

    def follow_parent() -> None:
        parent_process().join()
        os._exit(1)

    threading.Thread(target=follow_parent, daemon=True).start()


def _recognise(data: bytes) -> None:
    """Reject what is known to be no image, with a reason that helps more than Pillow's."""
    if not data:
        raise Rejected("empty file")
    if data.startswith(b"version https://git-lfs"):
        raise Rejected("Git-LFS pointer instead of the file; run git lfs pull before packing the archive")
    if data[4:12] in (b"ftypheic", b"ftypheix"):
        raise Rejected("HEIC, which Pillow cannot read; convert it to JPEG")


def _orientation(image: "PILImage") -> int:
    """The EXIF (or XMP) orientation 1..8, 1 if there is none."""
    try:
        return image.getexif().get(0x0112, 1)
    except Exception:  # damaged metadata of a good image: Pillow raises anything from struct.error to KeyError
        return 1


def _convert(image: "PILImage", channels: Channels) -> "PILImage":
    """Any mode to `RGB`, `L` or `RGBA`, as `decode_image` documents."""
    from PIL import Image

    if image.mode.startswith("I") or image.mode == "F":
        image = Image.fromarray(_to_uint8(np.asarray(image)))
    if channels == "rgba":
        return image.convert("RGBA")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        paper = Image.new("RGB", image.size, "white")
        paper.paste(image, mask=image)
        image = paper
    rgb = image.convert("RGB")
    return rgb.convert("L") if channels == "grey" else rgb


def _to_uint8(values: np.ndarray) -> np.ndarray:
    """Grey values of 16 or more bits, `[height, width]`, to uint8, as `decode_image` documents."""
    if values.dtype.itemsize == 2:
        return (values >> 8).astype(np.uint8)
    low, high = float(values.min()), float(values.max())
    if not np.isfinite([low, high]).all():
        raise ValueError("values that are no finite numbers")
    whites = (65535,) if values.dtype.kind == "i" else (1, 255, 65535)
    black, white = 0.0, next((white for white in whites if high <= white), np.inf)
    if low < 0 or white == np.inf:
        black, white = low, high
    # 256 equal steps, which give the upper byte for 0..65,535 and the value itself for 0..255
    scaled = (values.astype(np.float64) - black) / (white - black or 1.0)
    return np.minimum(scaled * 256, 255).astype(np.uint8)


def _reason(error: Exception) -> str:
    """What Pillow raised, in one short line that is the same every time."""
    from PIL import Image, UnidentifiedImageError

    if isinstance(error, UnidentifiedImageError):
        return "not an image of a known format"
    if isinstance(error, Image.DecompressionBombError | Image.DecompressionBombWarning):
        return f"more than {Image.MAX_IMAGE_PIXELS:,} pixels"
    text = " ".join(str(error).split())[:200]
    return f"damaged ({text or type(error).__name__})"


def _draft(image: "PILImage", size: int, fit: Fit) -> int:
    """Have a JPEG decoded at a fraction of its size, as `decode_image` documents: 1, 2, 4 or 8 is its divisor."""
    width, height = image.size
    resized = max(width, height) if fit == "pad" else min(width, height)  # the side that becomes `size`
    divisor = max((each for each in (2, 4, 8) if resized >= each * ROOM * size), default=1)
    if divisor == 1:
        return 1
    # What comes back are the mode and the box of the image in pixels of the draft; None of other formats.
    drafted = image.draft(None, (max(1, width // divisor), max(1, height // divisor)))
    return round(width / drafted[1][2]) if drafted else 1


def _fit(image: "PILImage", area: Box, original: tuple[int, int], size: int, fit: Fit) -> np.ndarray:
    """The `area` of an image resampled to uint8 `[size, size, C]`, or `[size, size]` of mode `L`.

    `original` are the width and height in pixels before decoding, from which all proportions are taken.
    """
    from PIL.Image import Resampling

    width, height = original
    if fit == "squish":
        return np.asarray(image.resize((size, size), Resampling.BILINEAR, box=area))
    if fit == "crop":
        scale = width / (area[2] - area[0])  # a power of 2, so that nothing is rounded
        left, top, right, bottom = (edge / scale for edge in _crop_box(width, height, size))
        box = (area[0] + left, area[1] + top, area[0] + right, area[1] + bottom)
        return np.asarray(image.resize((size, size), Resampling.BILINEAR, box=box))
    new_width = max(1, size * width // max(width, height))
    new_height = max(1, size * height // max(width, height))
    left, top = (size - new_width) // 2, (size - new_height) // 2
    pixels = np.asarray(image.resize((new_width, new_height), Resampling.BILINEAR, box=area))
    margins = [(top, size - new_height - top), (left, size - new_width - left), (0, 0)]
    return np.pad(pixels, margins[: pixels.ndim], mode="reflect")


def _crop_box(width: int, height: int, size: int) -> Box:
    """The part of the source that torchvision's Resize(size) and CenterCrop(size) together keep."""
    short = min(width, height)
    new_width, new_height = size * width // short, size * height // short
    left, top = round((new_width - size) / 2), round((new_height - size) / 2)
    return (
        left * width / new_width,
        top * height / new_height,
        (left + size) * width / new_width,
        (top + size) * height / new_height,
    )
