"""Converts one image file's bytes to uint8 pixels of a given size, upright."""

import io
import re
import warnings
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from unfreeze.images.members import Rejection

if TYPE_CHECKING:
    from PIL.Image import Image as PILImage

Fit = Literal["crop", "squish", "pad"]
Channels = Literal["rgb", "grey", "rgba", "bands_mean", "bands_ratio"]
Box = tuple[float, float, float, float]
"""Left, top, right, bottom, in pixels."""

CHANNEL_COUNTS = {"rgb": 3, "grey": 1, "rgba": 4}
"""How many channels are stored of an image file."""

FORMATS = (
    *("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "AVIF", "JPEG2000", "PPM", "TGA", "ICO", "ICNS", "PCX"),
    *("PSD", "QOI", "SGI", "SUN", "DDS", "DIB"),
)
"""What Pillow decodes by itself, in the order of trying. EPS is left out: it would run Ghostscript."""

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
"""Suffixes of files that are never tried as images."""

OVERSAMPLING = 2
"""A JPEG is decoded at a half, a quarter or an eighth where this leaves so many times the stored pixels a side."""

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
"""Orientations that put the end of a stored line at the left, or the end of a stored column at the top."""


class DecodedImage(NamedTuple):
    """One image's pixels, and what its file was."""

    pixels: np.ndarray
    """uint8 `[image_size, image_size, C]`: RGB, or the other channels that were asked for."""
    width: int
    """Of the source in pixels, upright."""
    height: int
    mode: str
    """Pillow's mode of the source, such as `RGB`, `P` or `I;16`."""
    format: str
    """Pillow's name of the source's format, such as `JPEG`, recognised by its content."""


def is_candidate(path: str) -> bool:
    """Tell whether a file is to be tried as an image.

    Every file is, whatever its suffix, except files with a suffix known for something else (`NOT_IMAGES`), hidden
    files (`.DS_Store`, macOS' `._photo.jpg`), `Thumbs.db` and what lies in `__MACOSX`.
    """
    name = PurePosixPath(path)
    return not (NOT_IMAGES.fullmatch(name.suffix) or name.name.startswith(".") or "__MACOSX" in name.parts)


def decode_image(data: bytes, image_size: int, fit: Fit, channels: Channels = "rgb") -> DecodedImage:
    """Decode an image file's content to `image_size` x `image_size` pixels of `channels` (no bands), upright.

    The content decides on the format. Of an animation or a stack of pages the first one is taken. Resampling is
    Pillow's antialiased bilinear. It is done once, straight from the source's pixels (except for large JPEGs, see
    below):

    - `crop`: the shorter side becomes `image_size`, then the centre is cut out, at torchvision's offsets;
    - `squish`: both sides become `image_size`, the proportions are lost;
    - `pad`: the longer side becomes `image_size`. The image's own reflection fills the rest: unlike black bars it
      adds no edges.

    Colours, by the source's mode:

    - `RGB`, `L`, `1`, `P`, `YCbCr`, `LAB`, `CMYK` (and YCCK): Pillow's conversion to RGB. Embedded ICC
      profiles are ignored, as by every common training library.
    - anything with transparency (`RGBA`, `LA`, `PA`, or a transparent colour): laid on white, as viewers show
      it. What a file holds under transparent pixels is arbitrary.
    - 16 bits a channel (`I;16`, 16-bit RGB): the upper byte, so that 65,535 is white, never clipped.
    - `I` (wider integers): as 16 bits where the values fit into 0..65,535, else stretched from minimum to
      maximum.
    - `F` (floating point): the smallest of 1, 255 and 65,535 that no value exceeds is white. An image with
      negative or larger values is stretched from minimum to maximum.

    `grey` is the luma of that RGB (ITU-R 601); of a grey image it is the image itself. `rgba` is not laid on
    white: transparency is the fourth channel, 255 where the image is opaque, and pixels that nobody can see are 0
    in all channels.

    A JPEG of at least 4 times (`2 * OVERSAMPLING`) the stored pixels a side is decoded at a half, a quarter or an
    eighth, as far as `OVERSAMPLING` times the stored pixels are left: libjpeg then computes no more than the
    frequencies that the resampling keeps. Photographs of 12 megapixels stored at 128 to 512 pixels differ by an
    RMSE of 0.5 levels of 255 and by 3 at most, and take 37 to 60% of the time (benchmarks/decode.py). Smaller
    JPEGs and all other formats are exact.

    Raises:
        Rejection: empty, a Git-LFS pointer, no image, too large, truncated or damaged. A damaged EXIF block
            alone is no reason: the image is then taken as it lies.
    """
    from PIL import Image

    _check_signature(data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's complaints about odd metadata
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            with Image.open(io.BytesIO(data), formats=FORMATS) as image:
                mode, format, (width, height) = image.mode, image.format or "", image.size
                divisor = _draft_jpeg(image, image_size, fit)
                image.load()
                orientation = _read_orientation(image)
                converted = _convert_mode(image, channels)
        except Exception as error:  # whatever a hostile file makes a decoder raise, MemoryError included
            raise Rejection(_describe(error)) from None
    if orientation in _UPRIGHT:
        converted = converted.transpose(Image.Transpose[_UPRIGHT[orientation]])
        width, height = (height, width) if orientation >= 5 else (width, height)
    # JPEG fills its blocks up: the last pixel of a draft's line or column may lie partly beyond the image.
    left = converted.width - width / divisor if orientation in _FROM_THE_RIGHT else 0
    top = converted.height - height / divisor if orientation in _FROM_BELOW else 0
    area = (left, top, left + width / divisor, top + height / divisor)
    pixels = _resample(converted, area, (width, height), image_size, fit)
    pixels = pixels.reshape(image_size, image_size, -1)
    if channels == "rgba":
        pixels = np.where(pixels[..., 3:] > 0, pixels, 0)
    return DecodedImage(pixels=pixels, width=width, height=height, mode=mode, format=format)


def _check_signature(data: bytes) -> None:
    """Reject known content that is no usable image, with a reason that helps more than Pillow's."""
    if not data:
        raise Rejection("empty file")
    if data.startswith(b"version https://git-lfs"):
        raise Rejection("Git-LFS pointer instead of the file; run git lfs pull before packing the archive")
    if data[4:12] in (b"ftypheic", b"ftypheix"):
        raise Rejection("HEIC, which Pillow cannot read; convert it to JPEG")


def _draft_jpeg(image: "PILImage", image_size: int, fit: Fit) -> int:
    """Have Pillow decode a large JPEG at a fraction of its size; return the divisor: 1, 2, 4 or 8."""
    width, height = image.size
    side = max(width, height) if fit == "pad" else min(width, height)  # which becomes `image_size`
    divisor = max((each for each in (2, 4, 8) if side >= each * OVERSAMPLING * image_size), default=1)
    if divisor == 1:
        return 1
    # Pillow returns the mode and the image's box in pixels of the draft, and None for other formats.
    draft = image.draft(None, (max(1, width // divisor), max(1, height // divisor)))
    return round(width / draft[1][2]) if draft else 1


def _read_orientation(image: "PILImage") -> int:
    """Read the EXIF (or XMP) orientation 1..8; 1 if there is none."""
    try:
        return image.getexif().get(0x0112, 1)
    except Exception:  # damaged metadata of a good image: Pillow raises anything from struct.error to KeyError
        return 1


def _convert_mode(image: "PILImage", channels: Channels) -> "PILImage":
    """Convert an image of any mode to `RGB`, `L` or `RGBA`, as `decode_image` documents."""
    from PIL import Image

    if image.mode.startswith("I") or image.mode == "F":
        image = Image.fromarray(_scale_to_uint8(np.asarray(image)))
    if channels == "rgba":
        return image.convert("RGBA")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        paper = Image.new("RGB", image.size, "white")
        paper.paste(image, mask=image)
        image = paper
    rgb = image.convert("RGB")
    return rgb.convert("L") if channels == "grey" else rgb


def _scale_to_uint8(values: np.ndarray) -> np.ndarray:
    """Scale grey values of 16 or more bits, `[height, width]`, to uint8, as `decode_image` documents."""
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


def _describe(error: Exception) -> str:
    """Describe what Pillow raised in one short line that is the same in every run."""
    from PIL import Image, UnidentifiedImageError

    if isinstance(error, UnidentifiedImageError):
        return "not an image of a known format"
    if isinstance(error, Image.DecompressionBombError | Image.DecompressionBombWarning):
        return f"more than {Image.MAX_IMAGE_PIXELS:,} pixels"
    text = " ".join(str(error).split())[:200]
    return f"damaged ({text or type(error).__name__})"


def _resample(image: "PILImage", area: Box, source: tuple[int, int], size: int, fit: Fit) -> np.ndarray:
    """Resample the `area` of an image to uint8 `[size, size, C]`, or `[size, size]` of mode `L`.

    `source` holds the width and height in pixels before decoding: all proportions are taken from them.
    """
    from PIL.Image import Resampling

    width, height = source
    if fit == "squish":
        return np.asarray(image.resize((size, size), Resampling.BILINEAR, box=area))
    if fit == "crop":
        divisor = width / (area[2] - area[0])  # a power of 2, so that nothing is rounded
        left, top, right, bottom = (edge / divisor for edge in _compute_crop(width, height, size))
        box = (area[0] + left, area[1] + top, area[0] + right, area[1] + bottom)
        return np.asarray(image.resize((size, size), Resampling.BILINEAR, box=box))
    new_width = max(1, size * width // max(width, height))
    new_height = max(1, size * height // max(width, height))
    left, top = (size - new_width) // 2, (size - new_height) // 2
    pixels = np.asarray(image.resize((new_width, new_height), Resampling.BILINEAR, box=area))
    margins = [(top, size - new_height - top), (left, size - new_width - left), (0, 0)]
    return np.pad(pixels, margins[: pixels.ndim], mode="reflect")


def _compute_crop(width: int, height: int, size: int) -> Box:
    """Compute the part of the source that torchvision's Resize(size) and CenterCrop(size) together keep."""
    short = min(width, height)
    new_width, new_height = size * width // short, size * height // short
    left, top = round((new_width - size) / 2), round((new_height - size) / 2)
    return (
        left * width / new_width,
        top * height / new_height,
        (left + size) * width / new_width,
        (top + size) * height / new_height,
    )
