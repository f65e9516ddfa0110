"""Images of which Pillow keeps the upper 8 of 16 bits a channel: colour, and grey with transparency.

Pillow has no mode for them. Its decoders read either byte of a value, though, by the name of the byte order. So
the upper bytes come for free, and the lower ones by decoding again with the bytes swapped.
"""

import io
import sys
from typing import TYPE_CHECKING

import numpy as np

from unfreeze.images.values import Extent, Range, scale_to_uint8

if TYPE_CHECKING:
    from PIL.Image import Image as PILImage

_OTHER_BYTE = {"L": "B", "B": "L", "N": "B" if sys.byteorder == "little" else "L"}
_SWAPPED = ("RGB;16", "RGBX;16", "RGBA;16", "CMYK;16")
"""Beginnings of the raw modes whose lower bytes can be read."""


def read_raw_mode(image: "PILImage") -> str:
    """Read how an image that is not yet loaded lies in its file, such as `RGB;16B`; "" where nothing says so."""
    for _, _, _, args in getattr(image, "tile", []):
        raw_mode = args if isinstance(args, str) else args[0] if isinstance(args, tuple) and args else ""
        return raw_mode if isinstance(raw_mode, str) else ""
    return ""


def is_deep(image: "PILImage", raw_mode: str) -> bool:
    """Tell whether Pillow reduces 16 bits a channel to 8."""
    return ";16" in raw_mode and image.mode in ("L", "LA", "RGB", "RGBA", "CMYK")


def measure_upper_bytes(image: "PILImage", raw_mode: str) -> Extent:
    """Measure a loaded image by its upper bytes; the lower ones count as full.

    Transparency is left out, unless Pillow has divided colour by it (`RGBa`): then it alone has the values' depth.
    """
    extrema = image.getextrema()
    bands = [extrema] if isinstance(extrema[0], (int, float)) else list(extrema)
    measured = "A" if raw_mode.startswith("RGBa") else "LRGBCMYK"
    highest = max(high for (_, high), name in zip(bands, image.getbands(), strict=True) if name in measured)
    return Extent(kind="integers", low=0, high=int(highest) * 256 + 255)


def scale_deep(image: "PILImage", data: bytes, raw_mode: str, scale: Range) -> "PILImage":
    """Scale all 16 bits of the loaded `image`, whose file is `data`, to 8 by `scale`; return the same mode.

    Transparency is scaled as colour is: where a file has all 16 bits of it and fewer of colour, clipping leaves
    opaque pixels opaque.

    Raises:
        ValueError: the lower bytes of such a file cannot be read.
    """
    from PIL import Image

    upper = np.asarray(image, dtype=np.uint16)
    if raw_mode == "LA;16B":  # Pillow can read all four bytes of a pixel as four channels
        values = _decode_as(data, image, "RGBA", keep="RGBA").astype(np.uint16)
        grey, alpha = values[..., 0] << 8 | values[..., 1], values[..., 2] << 8 | values[..., 3]
        whole = np.stack([grey, alpha], axis=-1)
        return Image.fromarray(scale_to_uint8(whole, scale), "LA").convert(image.mode)
    in_planes = image.format == "TIFF" and image.tag_v2.get(284) == 2  # PlanarConfiguration: libtiff swaps nothing
    if in_planes or not raw_mode.startswith(_SWAPPED):
        what = "in separate planes" if in_planes else f"as {raw_mode}"
        raise ValueError(
            f"16 bits a channel {what} are read at decode.range: 16 alone; save them interleaved, "
            "without premultiplied transparency"
        )
    lower = _decode_as(data, image, raw_mode[:-1] + _OTHER_BYTE[raw_mode[-1]], keep=image.mode)
    return Image.fromarray(scale_to_uint8(upper << 8 | lower, scale), image.mode)


def _decode_as(data: bytes, image: "PILImage", raw_mode: str, keep: str) -> np.ndarray:
    """Decode `data` again, which lies as `raw_mode` in its file, to an image of mode `keep`."""
    from PIL import Image

    with Image.open(io.BytesIO(data), formats=[image.format]) as again:
        again.tile = [
            tile._replace(args=raw_mode if isinstance(tile.args, str) else (raw_mode, *tile.args[1:]))
            for tile in again.tile
        ]
        if again.mode != keep:
            raise ValueError(f"16 bits a channel as {again.mode} are read at decode.range: 16 alone")
        again.load()
        return np.asarray(again)
