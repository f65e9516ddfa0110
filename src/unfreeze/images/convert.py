"""Converts one image file's bytes to uint8 pixels of a given size, upright."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from unfreeze.images.deep import is_deep, measure_upper_bytes, read_raw_mode, scale_deep
from unfreeze.images.fit import Fit, resample
from unfreeze.images.members import Rejection
from unfreeze.images.opener import limit_pixels, open_image
from unfreeze.images.values import Extent, Kind, Range, measure, range_of_bits, range_of_image, scale_to_uint8

if TYPE_CHECKING:
    from PIL.Image import Image as PILImage

Channels = Literal["rgb", "grey", "rgba", "bands_mean", "bands_ratio"]

CHANNEL_COUNTS = {"rgb": 3, "grey": 1, "rgba": 4}
"""How many channels are stored of an image file."""

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


MAX_PIXELS = 200_000_000
"""The largest image that is read, unless told otherwise: photographs of telephones have 108 million pixels."""

FRAMES = "holds several frames or pages: the first is taken"
CHANNELS_LEFT_OUT = "TIFF with more channels than RGB, RGBA or CMYK has: the first are taken"


@dataclass(frozen=True)
class Rules:
    """What holds for every image of a data set, beside its size."""

    max_pixels: int = MAX_PIXELS
    """Images of more pixels are rejected: `decode.max_pixels`."""
    ranges: Mapping[Kind, Range] = field(default_factory=dict)
    """Of values of more than 8 bits. A kind without a range gets one for each image alone
    (`values.range_of_image`)."""


STANDARD = Rules()


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
    extent: Extent | None = None
    """Of the source's values, where it has more than 8 bits a channel."""
    notes: tuple[str, ...] = ()
    """What of the source is left out."""


def is_candidate(path: str) -> bool:
    """Tell whether a file is to be tried as an image.

    Every file is, whatever its suffix, except files with a suffix known for something else (`NOT_IMAGES`), hidden
    files (`.DS_Store`, macOS' `._photo.jpg`), `Thumbs.db` and what lies in `__MACOSX`.
    """
    name = PurePosixPath(path)
    return not (NOT_IMAGES.fullmatch(name.suffix) or name.name.startswith(".") or "__MACOSX" in name.parts)


def decode_image(
    data: bytes, image_size: int, fit: Fit, channels: Channels = "rgb", name: str = "", rules: Rules = STANDARD
) -> DecodedImage:
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
    - more than 8 bits a channel (`I;16`, `I`, `F`, 16-bit RGB): `rules.ranges`, the same for the whole data set
      (`values.scale_to_uint8`). Without one, 65,535 is white.

    `grey` is the luma of that RGB (ITU-R 601); of a grey image it is the image itself. `rgba` is not laid on
    white: transparency is the fourth channel, 255 where the image is opaque, and pixels that nobody can see are 0
    in all channels.

    A JPEG of at least 4 times (`2 * OVERSAMPLING`) the stored pixels a side is decoded at a half, a quarter or an
    eighth, as far as `OVERSAMPLING` times the stored pixels are left: libjpeg then computes no more than the
    frequencies that the resampling keeps. Photographs of 12 megapixels stored at 128 to 512 pixels differ by an
    RMSE of 0.5 levels of 255 and by 3 at most, and take 37 to 60% of the time (benchmarks/decode.py). Smaller
    JPEGs and all other formats are exact.

    Args:
        name: of the file. Its suffix alone tells some camera raw files from other TIFFs.

    Raises:
        Rejection: empty, a Git-LFS pointer, no image, too large, truncated or damaged. A damaged EXIF block
            alone is no reason: the image is then taken as it lies.
    """
    from PIL.Image import Transpose

    with limit_pixels(rules.max_pixels):
        try:
            with open_image(data, name, rules.max_pixels) as image:
                mode, format, (width, height) = image.mode, image.format or "", image.size
                divisor = _draft_jpeg(image, image_size, fit)
                raw_mode = read_raw_mode(image)
                image.load()
                orientation = _read_orientation(image)
                reduced, extent = _reduce_to_8_bits(image, data, raw_mode, rules.ranges)
                converted = _convert_mode(reduced, channels)
                notes = _find_notes(image)
        except Rejection:
            raise
        except Exception as error:  # whatever a hostile file makes a decoder raise, MemoryError included
            raise Rejection(_describe(error, rules.max_pixels)) from None
    if orientation in _UPRIGHT:
        converted = converted.transpose(Transpose[_UPRIGHT[orientation]])
        width, height = (height, width) if orientation >= 5 else (width, height)
    # JPEG fills its blocks up: the last pixel of a draft's line or column may lie partly beyond the image.
    left = converted.width - width / divisor if orientation in _FROM_THE_RIGHT else 0
    top = converted.height - height / divisor if orientation in _FROM_BELOW else 0
    area = (left, top, left + width / divisor, top + height / divisor)
    pixels = resample(converted, area, (width, height), image_size, fit)
    pixels = pixels.reshape(image_size, image_size, -1)
    if channels == "rgba":
        pixels = np.where(pixels[..., 3:] > 0, pixels, 0)
    return DecodedImage(
        pixels=pixels, width=width, height=height, mode=mode, format=format, extent=extent, notes=notes
    )


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


def _reduce_to_8_bits(
    image: "PILImage", data: bytes, raw_mode: str, ranges: Mapping[Kind, Range]
) -> tuple["PILImage", Extent | None]:
    """Scale a loaded image to 8 bits a channel; return it with the extent of its values, None for 8 bits."""
    from PIL import Image

    if image.mode.startswith("I") or image.mode == "F":
        values = np.asarray(image)
        if values.dtype.itemsize == 2:
            values = values.astype(np.uint16, copy=False)  # in the byte order of this machine
        extent = measure(values)
        scale = ranges.get(extent.kind) or range_of_image(extent)
        return Image.fromarray(scale_to_uint8(values, scale)), extent
    if is_deep(image, raw_mode):
        extent = measure_upper_bytes(image, raw_mode)
        scale = ranges.get("integers") or range_of_bits(16)
        return image if scale == range_of_bits(16) else scale_deep(image, data, raw_mode, scale), extent
    return image, None


def _find_notes(image: "PILImage") -> tuple[str, ...]:
    """Tell what of a loaded image is left out."""
    notes = []
    if image.format in ("GIF", "PNG", "WEBP", "TIFF", "AVIF", "HEIF", "DICOM"):
        try:
            several = getattr(image, "is_animated", False)
        except Exception:  # only a later frame is damaged
            several = True
        if several:
            notes.append(FRAMES)
    if image.format == "TIFF" and image.tag_v2.get(277, 1) > len(image.getbands()):  # SamplesPerPixel
        notes.append(CHANNELS_LEFT_OUT)
    return tuple(notes)


def _convert_mode(image: "PILImage", channels: Channels) -> "PILImage":
    """Convert an image of 8 bits a channel to `RGB`, `L` or `RGBA`, as `decode_image` documents."""
    from PIL import Image

    if channels == "rgba":
        return image.convert("RGBA")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        paper = Image.new("RGB", image.size, "white")
        paper.paste(image, mask=image)
        image = paper
    rgb = image.convert("RGB")
    return rgb.convert("L") if channels == "grey" else rgb


def _describe(error: Exception, max_pixels: int) -> str:
    """Describe what a decoder raised in one short line that is the same in every run."""
    from PIL import Image

    if isinstance(error, Image.DecompressionBombError | Image.DecompressionBombWarning):
        return f"more than {max_pixels:,} pixels (decode.max_pixels)"
    text = " ".join(str(error).split())[:200]
    return f"damaged ({text or type(error).__name__})"
