"""Formats that are known by their content: their names, and what to do where they are not read.

Pillow takes some files for what they are not: the thumbnail of a camera's raw file for the photograph. So content
is compared with this table first, unless it begins as a JPEG or a PNG does.
"""

import io
import json
import re
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from PIL.Image import Image as PILImage

EXTRA = "unfreeze[formats]"
"""The extra of this package that reads more formats."""


class Known(NamedTuple):
    """A format that is not read."""

    name: str
    todo: str
    """What its owner can do."""

    @property
    def reason(self) -> str:
        return f"{self.name}, which is not read: {self.todo}"


def _raw(name: str) -> Known:
    todo = "its first picture is a thumbnail. Develop it to JPEG or TIFF, as with darktable-cli or rawpy"
    return Known(f"camera raw ({name})", todo)


_SLICES = "save slices as PNG or 16-bit TIFF"
_DRAWING = "draw it as PNG, as with"
FITS = Known("FITS", "save it as TIFF, as with astropy")
NIFTI = Known("NIfTI", f"{_SLICES}, as with nibabel")
EXR = Known("OpenEXR", "save it as TIFF or PNG, as with oiiotool")
HDR = Known("Radiance HDR", "save it as TIFF or PNG, as with oiiotool")
SVG = Known("SVG, a drawing", f"{_DRAWING} rsvg-convert")
PDF = Known("PDF", f"{_DRAWING} pdftoppm")
EPS = Known("EPS or PostScript", f"{_DRAWING} Ghostscript")
JPEG_XR = Known("JPEG XR", "save it as JPEG or TIFF, as with JxrDecApp")
BARE_DICOM = Known("DICOM without the mark DICM", "write it as a file of today's standard, as with dcmconv")
XCF = Known("XCF, a project of GIMP", "export it as PNG")
VIDEO = Known("a video", "save its frames as JPEG or PNG, as with ffmpeg")
AVIF = Known("AVIF", "this Pillow is built without it: install pillow 11.3 or newer")
HTML = Known("an HTML page", "what was saved is a page about the image or an error; download the image itself")
JSON = Known("JSON text", "what was saved is a server's answer, or labels; download the image itself")
XML = Known("XML text", "what was saved is a server's answer, or labels; download the image itself")
ARCHIVE = Known("an archive", "unpack it, or give it a name that ends in .zip, .tar.gz or .7z")
NUMPY = Known("a NumPy array", "save it as PNG or TIFF, as with PIL.Image.fromarray(array).save(...)")
HDF = Known("HDF5 (also MATLAB 7.3, NetCDF 4)", "save its images as PNG or TIFF, as with h5py")

MAGIC: tuple[tuple[int, bytes, Known], ...] = (
    (8, b"CR\x02\0", _raw("Canon CR2")),
    (4, b"ftypcrx ", _raw("Canon CR3")),
    (6, b"HEAPCCDR", _raw("Canon CRW")),
    (0, b"FUJIFILMCCD-RAW", _raw("Fujifilm RAF")),
    (0, b"IIRO", _raw("Olympus ORF")),
    (0, b"IIRS", _raw("Olympus ORF")),
    (0, b"MMOR", _raw("Olympus ORF")),
    (0, b"IIU\0", _raw("Panasonic RW2")),
    (0, b"FOVb", _raw("Sigma X3F")),
    (0, b"\0MRM", _raw("Minolta MRW")),
    (0, b"SIMPLE  =", FITS),
    (344, b"n+1\0", NIFTI),
    (344, b"ni1\0", NIFTI),
    (4, b"n+2\0\r\n\x1a\n", NIFTI),
    (0, b"v/1\x01", EXR),
    (0, b"#?RADIANCE", HDR),
    (0, b"#?RGBE", HDR),
    (0, b"%PDF-", PDF),
    (0, b"%!PS", EPS),
    (0, b"\xc5\xd0\xd3\xc6", EPS),
    (0, b"II\xbc\x01", JPEG_XR),
    (0, b"gimp xcf", XCF),
    (0, b"\x93NUMPY", NUMPY),
    (0, b"\x89HDF\r\n\x1a\n", HDF),
    (0, b"MATLAB 5.0 MAT-file", Known("MATLAB data", "save its images as PNG or TIFF, as with scipy.io.loadmat")),
    (0, b"8BPB", Known("PSB, a large document of Photoshop", "export it as TIFF or PNG")),
    (0, b"AT&TFORM", Known("DjVu", f"{_DRAWING} ddjvu")),
    (0, b"\xd7\xcd\xc6\x9a", Known("WMF, a drawing", f"{_DRAWING} LibreOffice")),
    (40, b" EMF", Known("EMF, a drawing", f"{_DRAWING} LibreOffice")),
    (0, b"BPG\xfb", Known("BPG", "save it as PNG, as with bpgdec")),
    (0, b"FLIF", Known("FLIF", "save it as PNG, as with flif")),
    (0, b"\x1aE\xdf\xa3", VIDEO),
    (8, b"AVI LIST", VIDEO),
    (0, b"\0\0\x01\xba", VIDEO),
    (0, b"\0\0\x01\xb3", VIDEO),
    (4, b"moov", VIDEO),
    (4, b"mdat", VIDEO),
    (0, b"OggS", VIDEO),
    (0, b"FLV\x01", VIDEO),
    (0, b"PK\x03\x04", ARCHIVE),
    (0, b"7z\xbc\xaf\x27\x1c", ARCHIVE),
    (0, b"Rar!\x1a\x07", ARCHIVE),
    (0, b"\x1f\x8b", Known("gzip", "unpack it, as with gunzip; NIfTI and FITS are often packed so")),
    (0, b"NRRD000", Known("NRRD", f"{_SLICES}, as with pynrrd")),
    (0, b"ObjectType = Image", Known("MetaImage", f"{_SLICES}, as with SimpleITK")),
    (0, b"NDims = ", Known("MetaImage", f"{_SLICES}, as with SimpleITK")),
    (0, b"\xda\xce\xbe\x0a", Known("ND2 of Nikon microscopes", "save it as TIFF, as with bfconvert")),
    (0, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", Known("an OLE document (as ZVI, OIB, FlashPix or DOC)", "export it")),
    (0, b"ZISRAWFILE", Known("CZI of Zeiss microscopes", "save it as TIFF, as with bfconvert")),
)  # fmt: skip
"""Offset, bytes that stand there, and the format. The order is that of trying."""

RAW_SUFFIXES = {
    ".cr2": "Canon CR2", ".nef": "Nikon NEF", ".nrw": "Nikon NRW", ".arw": "Sony ARW", ".sr2": "Sony SR2",
    ".srf": "Sony SRF", ".dng": "DNG", ".pef": "Pentax PEF", ".srw": "Samsung SRW", ".3fr": "Hasselblad 3FR",
    ".iiq": "Phase One IIQ", ".erf": "Epson ERF", ".rwl": "Leica RWL", ".kdc": "Kodak KDC", ".dcr": "Kodak DCR",
    ".mos": "Leaf MOS", ".mef": "Mamiya MEF",
}  # fmt: skip
"""Suffixes of camera raw files that are TIFF by their content."""

SUFFIXES = {
    **{suffix: _raw(name) for suffix, name in RAW_SUFFIXES.items()},
    ".nii": NIFTI, ".fits": FITS, ".fit": FITS, ".exr": EXR, ".hdr": HDR, ".svg": SVG, ".svgz": SVG, ".pdf": PDF,
    ".eps": EPS, ".ps": EPS, ".ai": EPS, ".jxr": JPEG_XR, ".wdp": JPEG_XR, ".hdp": JPEG_XR, ".xcf": XCF,
    ".dcm": BARE_DICOM, ".dicom": BARE_DICOM, ".ima": BARE_DICOM,
    ".mp4": VIDEO, ".mov": VIDEO, ".avi": VIDEO, ".mkv": VIDEO, ".webm": VIDEO, ".m4v": VIDEO, ".wmv": VIDEO,
    ".npy": NUMPY, ".npz": NUMPY, ".h5": HDF, ".hdf5": HDF,
}  # fmt: skip
"""What content that is not recognised is called by the suffix of its name."""

PACKED = (".gz", ".bz2", ".xz", ".zst")

_HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1", b"mif2"}
_AVIF_BRANDS = {b"avif", b"avis"}
_CAMERAS = re.compile(
    "nikon|canon|sony|pentax|ricoh|samsung|olympus|panasonic|leica|hasselblad|phase one|kodak|epson|mamiya|leaf",
    re.IGNORECASE,
)
"""Beginnings of the makers that camera raw files name."""
_THUMBNAIL = 1
"""The bit of a TIFF's NewSubfileType that marks a smaller copy of another picture."""
_TEXT = re.compile(rb"[\t\n\r\x20-\x7e\x80-\xff]+")


def recognise(data: bytes) -> Known | str:
    """Recognise content by its first bytes.

    Returns:
        A format that is not read; or the name of one that a package beside Pillow reads: `HEIC`, `JPEG XL` or
        `DICOM`; or "" for what Pillow is to try.
    """
    if data.startswith((b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n")):
        return ""
    for offset, magic, known in MAGIC:
        if data.startswith(magic, offset):
            return known
    if data[4:8] == b"ftyp":
        return _recognise_brands(data)
    if data.startswith((b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n")):
        return "JPEG XL"
    return "DICOM" if data.startswith(b"DICM", 128) else ""


def recognise_suffix(path: str) -> Known | None:
    """Recognise a format that is not read by the suffix of a name, `.nii.gz` included."""
    name = PurePosixPath(path.lower())
    return SUFFIXES.get(PurePosixPath(name.stem).suffix if name.suffix in PACKED else name.suffix)


def _recognise_brands(data: bytes) -> Known | str:
    """Recognise a file of the ISO base media format by the brands that it names."""
    end = min(int.from_bytes(data[:4], "big"), 512)
    brands = {data[8:12], *(data[at : at + 4] for at in range(16, end, 4))}
    if brands & _AVIF_BRANDS:
        return ""
    return "HEIC" if brands & _HEIF_BRANDS else VIDEO


def refuse_tiff(image: "PILImage", name: str) -> Known | None:
    """Tell what an opened TIFF is that Pillow would misread; None for an ordinary TIFF.

    These are files whose first picture is a thumbnail, and planes of 16 bits, of which Pillow mixes the bytes.
    """
    tags = image.tag_v2
    suffix = PurePosixPath(name).suffix.lower()
    if 50706 in tags:  # DNGVersion
        return _raw("DNG")
    if suffix in RAW_SUFFIXES:
        return SUFFIXES[suffix]
    is_thumbnail, has_more = tags.get(254, 0) == _THUMBNAIL, 330 in tags  # NewSubfileType, SubIFDs
    maker = str(tags.get(271, "TIFF")).strip()  # Make
    if has_more and (is_thumbnail or _CAMERAS.match(maker)):  # other SubIFDs are smaller copies
        return _raw(maker)
    if is_thumbnail:
        return Known("TIFF whose first picture is a thumbnail", "save the picture itself as a file of its own")
    raw_mode, bits = image.tile[0].args[0] if image.tile else "", max(tags.get(258, (1,)))
    in_planes = tags.get(284) == 2 and ";" not in raw_mode  # PlanarConfiguration
    if in_planes and (bits == 16 or (bits > 16 and tags.prefix == b"MM")):
        return Known(f"uncompressed TIFF of {bits} bits in separate planes", "save it interleaved, or compressed")
    return None


def describe_unknown(data: bytes, name: str) -> str:
    """Describe content that nothing has identified, in one line that is a reason to reject it."""
    if data.startswith((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")):
        return _describe_tiff(data)
    start = data[:4096].lstrip(b"\xef\xbb\xbf \t\r\n")
    lower = start.lower()
    if data[4:8] == b"ftyp":
        return AVIF.reason
    if re.match(rb"(<!--.*?-->\s*)*<(!doctype html|html|head|body)", lower, re.DOTALL):
        return HTML.reason
    if lower.startswith((b"<?xml", b"<svg", b"<!doctype svg")):
        return SVG.reason if b"<svg" in lower else XML.reason
    if start[:1] in (b"{", b"[") and _is_json(data):
        return JSON.reason
    if known := recognise_suffix(name):
        return known.reason
    if _TEXT.fullmatch(data[:512]):
        text = " ".join(data[:60].decode("utf-8", "replace").split())
        return f"not an image of a known format, but text: {text[:40]!r}"
    return "not an image of a known format"


def _is_json(data: bytes) -> bool:
    if len(data) > 1 << 20:  # not worth the memory: it looks like JSON
        return True
    try:
        json.loads(data)
    except (ValueError, RecursionError):
        return False
    return True


def _describe_tiff(data: bytes) -> str:
    """Describe a TIFF that Pillow does not identify, by its tags."""
    from PIL.TiffImagePlugin import ImageFileDirectory_v2

    try:
        tags = ImageFileDirectory_v2(data[:16] if data[2] == 43 or data[3] == 43 else data[:8])
        file = io.BytesIO(data)
        file.seek(tags.next)
        tags.load(file)
        channels, bits = int(tags.get(277, 1)), tags.get(258, (1,))
        compression = int(tags.get(259, 1))
        kind = {1: "integers", 2: "signed integers", 3: "floats"}.get(tags.get(339, (1,))[0], "values")
        depth = int((bits if isinstance(bits, tuple) else (bits,))[0])
    except Exception:  # damaged tags make Pillow raise anything
        return "damaged TIFF, or a kind of TIFF that is not read"
    what = f"TIFF of {channels} channel{'s' * (channels != 1)}, {depth}-bit {kind}"
    if channels in (3, 4) and tags.get(262) in (0, 1):  # PhotometricInterpretation
        return f"{what} that are marked as grey: mark them as RGB, as with `gdal_translate -co PHOTOMETRIC=RGB`"
    if channels not in (1, 2, 3, 4):
        return (
            f"{what}: 1 (grey), 3 (RGB) or 4 (RGBA, CMYK) channels are read. Write three of them as a file, as "
            "with `gdal_translate -b 4 -b 3 -b 2 in.tif out.tif`"
        )
    return (
        f"{what} (compression {compression}), which is not read: save it as PNG, or as TIFF of 8 or 16 bits, "
        "interleaved, with LZW or no compression"
    )
