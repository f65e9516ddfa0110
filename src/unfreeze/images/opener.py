"""Opens the content of an image file, with Pillow or with what else reads its format, and limits its pixels."""

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from unfreeze.images.dicom import read_dicom
from unfreeze.images.formats import EXTRA, Known, describe_unknown, recognise, refuse_tiff
from unfreeze.images.members import Rejection

if TYPE_CHECKING:
    from PIL.Image import Image as PILImage

FORMATS = (
    *("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "AVIF", "JPEG2000", "PPM", "TGA", "ICO", "ICNS", "PCX"),
    *("PSD", "QOI", "SGI", "SUN", "DDS", "DIB"),
)
"""What Pillow decodes by itself, in the order of trying. EPS is left out: it would run Ghostscript."""

_JXL_SIZE_BITS = (9, 13, 18, 30)
_JXL_RATIOS = {1: (1, 1), 2: (12, 10), 3: (4, 3), 4: (3, 2), 5: (16, 9), 6: (5, 4), 7: (2, 1)}


@contextmanager
def limit_pixels(max_pixels: int) -> Iterator[None]:
    """Make Pillow refuse images of more than `max_pixels`, in place of its own limit, and complain of nothing."""
    from PIL import Image

    before = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = max_pixels
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's complaints about odd metadata
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            yield
    finally:
        Image.MAX_IMAGE_PIXELS = before


def open_image(data: bytes, name: str, max_pixels: int) -> "PILImage":
    """Open the content of an image file.

    Args:
        name: of the file. Its suffix alone tells some camera raw files from other TIFFs.

    Raises:
        Rejection: it is empty, a Git-LFS pointer, or of a format that is known and not read.
        Exception: whatever a hostile file makes a decoder raise.
    """
    from PIL import Image, UnidentifiedImageError

    if not data:
        raise Rejection("empty file")
    if data.startswith(b"version https://git-lfs"):
        raise Rejection("Git-LFS pointer instead of the file; run git lfs pull before packing the archive")
    format = recognise(data)
    if isinstance(format, Known):
        raise Rejection(format.reason)
    if format == "DICOM":
        return read_dicom(data, max_pixels)
    if format == "HEIC":
        return _open_heif(data)
    if format == "JPEG XL":
        return _open_jxl(data, max_pixels)
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError:
        raise Rejection(describe_unknown(data, name)) from None
    if image.format == "TIFF" and (known := refuse_tiff(image, name)):
        image.close()
        raise Rejection(known.reason)
    return image


def _open_heif(data: bytes) -> "PILImage":
    try:
        import pillow_heif
    except ImportError:
        raise _missing("HEIC", "pillow-heif") from None
    pillow_heif.options.DECODE_THREADS = 1  # a process for each core decodes already
    pillow_heif.register_heif_opener(thumbnails=False)
    return _open_as("HEIF", data)


def _open_jxl(data: bytes, max_pixels: int) -> "PILImage":
    from PIL import Image

    try:
        from pillow_jxl import JpegXLImagePlugin
    except ImportError:
        raise _missing("JPEG XL", "pillow-jxl-plugin") from None
    width, height = read_jxl_size(data)  # the plugin decodes while opening, whatever the size
    if width * height > max_pixels:
        raise Image.DecompressionBombError
    JpegXLImagePlugin.DECODE_THREADS = 0  # a process for each core decodes already
    return _open_as("JXL", data)


def _open_as(format: str, data: bytes) -> "PILImage":
    from PIL import Image, UnidentifiedImageError

    try:
        return Image.open(io.BytesIO(data), formats=[format])
    except UnidentifiedImageError:  # its message holds an address
        raise Rejection(f"damaged {format}") from None


def _missing(format: str, package: str) -> Rejection:
    return Rejection(f"{format}: pip install {package} (or the extra {EXTRA}) to read it")


def read_jxl_size(data: bytes) -> tuple[int, int]:
    """Read width and height in pixels from the header of a JPEG XL file (ISO/IEC 18181-1, D.2).

    Raises:
        ValueError: there is no such header.
    """
    header = _find_jxl_codestream(data)
    if not header.startswith(b"\xff\x0a"):
        raise ValueError("no header of JPEG XL")
    bits, at = int.from_bytes(header[2:14], "little"), 0

    def take(count: int) -> int:
        nonlocal at
        at += count
        return bits >> (at - count) & ((1 << count) - 1)

    small = take(1)

    def take_side() -> int:
        return (take(5) + 1) * 8 if small else take(_JXL_SIZE_BITS[take(2)]) + 1

    height = take_side()
    ratio = take(3)
    if not ratio:
        return take_side(), height
    numerator, denominator = _JXL_RATIOS[ratio]
    return height * numerator // denominator, height


def _find_jxl_codestream(data: bytes) -> bytes:
    """Return the beginning of the codestream, which may lie in the boxes of a container."""
    at = 0 if data.startswith(b"\0\0\0\x0cJXL ") else len(data)
    while at + 16 <= len(data):
        size, kind, start = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8], at + 8
        if size == 1:
            size, start = int.from_bytes(data[start : start + 8], "big"), start + 8
        if kind in (b"jxlc", b"jxlp"):
            start += 4 * (kind == b"jxlp")
            return data[start : start + 16]
        if size < 8:  # 0: the last box
            break
        at += size
    return data[:16]
