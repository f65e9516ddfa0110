"""DICOM files -> images, as the standard (PS3.3) says that they are to be shown. pydicom reads them."""

import io
from typing import TYPE_CHECKING

import numpy as np

from unfreeze.images.members import Rejection

if TYPE_CHECKING:
    from PIL.Image import Image as PILImage
    from pydicom import Dataset

_DEFLATED = b"1.2.840.10008.1.2.1.99"
_HEAD = 4096
"""Bytes in which the name of a file's transfer syntax stands."""


def read_dicom(data: bytes, max_pixels: int) -> "PILImage":
    """Read the first frame of a DICOM file.

    - Stored values get the modality's slope and intercept (or its table), such as Hounsfield units.
    - With a window (or a table of values of interest), its first one is applied: 8 bits.
    - Without one they stay what they are, mode `I` or `F`, for the range of the data set.
    - MONOCHROME1, whose smallest value is white, is inverted.
    - Colour (RGB, YBR, PALETTE COLOR) becomes RGB of 8 bits.

    Raises:
        Rejection: it holds no image, a larger one than `max_pixels`, or one that pydicom cannot decompress.
        Exception: whatever pydicom raises on a damaged file.
    """
    try:
        import pydicom
        from pydicom.pixels import pixel_array
    except ImportError:
        raise Rejection("DICOM: pip install pydicom (or the extra unfreeze[formats]) to read it") from None
    if _DEFLATED in data[:_HEAD]:  # pydicom would inflate it without a limit
        raise Rejection("DICOM whose data set is deflated, which is not read: rewrite it, as with dcmconv +te")
    dataset = pydicom.dcmread(io.BytesIO(data))
    if "PixelData" not in dataset:
        raise Rejection("DICOM without an image, such as a report or an index (DICOMDIR)")
    if int(dataset.Rows) * int(dataset.Columns) > max_pixels:
        raise Rejection(f"more than {max_pixels:,} pixels (decode.max_pixels)")
    _check_compression(dataset)
    image = _to_image(pixel_array(dataset, index=0), dataset)
    image.format, image.is_animated = "DICOM", int(dataset.get("NumberOfFrames") or 1) > 1
    return image


def _to_image(array: np.ndarray, dataset: "Dataset") -> "PILImage":
    """Turn stored values, `[H, W]` or `[H, W, 3]`, into an image as `read_dicom` documents."""
    from PIL import Image
    from pydicom.pixels import apply_color_lut, apply_modality_lut

    interpretation = dataset.PhotometricInterpretation
    if interpretation == "PALETTE COLOR":
        array = apply_color_lut(array, dataset)
        return Image.fromarray((array >> 8 if array.dtype.itemsize == 2 else array).astype(np.uint8)[..., :3])
    if array.ndim == 3:
        return Image.fromarray((array >> max(0, int(dataset.BitsStored) - 8)).astype(np.uint8))
    values = apply_modality_lut(array, dataset)
    shown = _apply_window(values, dataset)
    inverted = interpretation == "MONOCHROME1"
    if shown is not None:
        return Image.fromarray(255 - shown if inverted else shown)
    if inverted:  # of what can be stored, so that all images of a modality are inverted alike
        signed, bits = int(dataset.PixelRepresentation), int(dataset.BitsStored)
        values = apply_modality_lut((-1 if signed else 2**bits - 1) - array.astype(np.int64), dataset)
    if (values == np.round(values)).all():
        return Image.fromarray(values.astype(np.int32))
    return Image.fromarray(values.astype(np.float32))


def _check_compression(dataset: "Dataset") -> None:
    """Reject a compression for which pydicom lacks a decoder."""
    from pydicom.pixels import get_decoder

    syntax = dataset.file_meta.TransferSyntaxUID
    try:
        available = get_decoder(syntax).is_available
    except NotImplementedError:  # pydicom has no decoder of this name at all: the image is rejected below
        available = False
    if not available:
        raise Rejection(
            f"DICOM compressed as {syntax.name}, which pydicom does not read without further packages: decompress "
            "it, as with gdcmconv --raw or dcmdjpeg"
        )


def _apply_window(values: np.ndarray, dataset: "Dataset") -> np.ndarray | None:
    """Apply the first window (PS3.3 C.11.2.1) or table of values; return uint8, or None where there is none."""
    from pydicom.pixels import apply_voi

    if dataset.get("VOILUTSequence"):
        bits = int(dataset.VOILUTSequence[0].LUTDescriptor[2])
        table = apply_voi(values.astype(np.int64), dataset, index=0)
        return np.clip(table.astype(np.float64) * (255 / (2**bits - 1)) + 0.5, 0, 255).astype(np.uint8)
    centre, width = _first(dataset.get("WindowCenter")), _first(dataset.get("WindowWidth"))
    if centre is None or width is None:
        return None
    function = str(dataset.get("VOILUTFunction") or "LINEAR")
    if width < 1 if function == "LINEAR" else width <= 0:
        raise ValueError(f"a window of the width {width}")
    offsets = values.astype(np.float64) - centre
    if function == "SIGMOID":
        shares = 1 / (1 + np.exp(np.clip(-4 * offsets / width, -700, 700)))
    elif function == "LINEAR_EXACT":
        shares = offsets / width + 0.5
    else:
        shares = (offsets + 0.5) / max(width - 1, 1e-9) + 0.5
    return (np.clip(shares, 0, 1) * 255 + 0.5).astype(np.uint8)


def _first(value: object) -> float | None:
    """Return the first of one or several numbers of a tag; None where it is empty."""
    if value is None or value == "":
        return None
    if isinstance(value, (list, tuple)) or hasattr(value, "__iter__"):
        values = list(value)
        return float(values[0]) if values else None
    return float(value)
