"""Formats that are known and not read, each by its name."""

import json
import re
import struct
from pathlib import Path

import numpy as np
import pytest
from image_files import PHOTO, Tiff, encode, pack, write_tiff
from PIL import Image

from unfreeze.core.console import UserError
from unfreeze.images.convert import Rules, decode_image
from unfreeze.images.decode import decode_tar
from unfreeze.images.formats import MAGIC, SUFFIXES, recognise, recognise_suffix
from unfreeze.images.members import ExtractedTar, Rejection
from unfreeze.images.opener import FORMATS
from unfreeze.images.outs import ImageFiles
from unfreeze.images.params import DecodeParams

NIFTI = struct.pack("<i", 348) + bytes(340) + b"n+1\0" + bytes(100)
THUMBNAIL = np.asarray(PHOTO)


def raw(*tags: tuple[int, int]) -> bytes:
    """A TIFF whose first picture Pillow reads, with `tags`."""
    return write_tiff(THUMBNAIL, Tiff(tags=tags))


def zeros(channels: int, dtype: type, how: Tiff) -> bytes:
    return write_tiff(np.zeros((8, 8, channels), dtype), how)


NAMED = {  # name of the file, content, what the reason says
    "a.cr2": (b"II*\0\x10\0\0\0CR\x02\0" + bytes(99), "Canon CR2"),
    "b.cr3": (b"\0\0\0\x18ftypcrx \0\0\0\1crx isom", "Canon CR3"),
    "c.raf": (b"FUJIFILMCCD-RAW 0201", "Fujifilm RAF"),
    "d.orf": (b"IIRO\x08\0\0\0", "Olympus ORF"),
    "e.rw2": (b"IIU\0\x18\0\0\0", "Panasonic RW2"),
    "f.nef": (raw(), "Nikon NEF"),
    "f.ARW": (raw(), "Sony ARW"),
    "dng with another name.tif": (raw((50706, 0x01040000)), "DNG"),
    "raw with another name.tif": (raw((254, 1), (330, 8)), "camera raw"),
    "thumbnail.tif": (raw((254, 1)), "thumbnail"),
    "g.fits": (b"SIMPLE  =                    T", "FITS"),
    "h.nii": (NIFTI, "NIfTI"),
    "i.exr": (b"v/1\x01\x02\0\0\0", "OpenEXR"),
    "j.hdr": (b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n", "Radiance HDR"),
    "k.svg": (b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>', "SVG"),
    "l.svg": (b'<svg width="9"/>', "SVG"),
    "m.jpg": (b"%PDF-1.7\n", "PDF"),
    "n.jxr": (b"II\xbc\x01\x08\0\0\0", "JPEG XR"),
    "o.xcf": (b"gimp xcf v011\0", "XCF"),
    "p.jpg": (b"\0\0\0\x20ftypisom\0\0\2\0isomiso2avc1mp41", "video"),
    "q.jpg": (b"\0\0\0\x14ftypqt  \0\0\0\0qt  ", "video"),
    "r.jpg": (b"<!DOCTYPE html>\n<html><body>404", "HTML page"),
    "s.jpg": (b"\n  <html lang='en'>", "HTML page"),
    "t.jpg": (json.dumps({"error": "not found"}).encode(), "JSON"),
    "u.jpg": (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "XML"),
    "v.jpg": (b"404: Not Found", "'404: Not Found'"),
    "w.jpg": (b"PK\x03\x04" + bytes(40), "archive"),
    "x.png": (b"\x93NUMPY\x01\0", "NumPy"),
    "y.img": (b"\x89HDF\r\n\x1a\n", "HDF5"),
    "13 bands.tif": (zeros(13, np.uint16, Tiff(photometric=1)), "TIFF of 13 channels, 16-bit integers"),
    "2 of 16 bits.tif": (zeros(2, np.uint16, Tiff(photometric=1, extra=(2,))), "TIFF of 2 channels, 16-bit"),
    "RGB of floats.tif": (zeros(3, np.float32, Tiff(tags=((339, 3),))), "TIFF of 3 channels, 32-bit floats"),
    "RGB as grey.tif": (zeros(3, np.uint16, Tiff(photometric=1)), "PHOTOMETRIC=RGB"),
    "planes.tif": (zeros(3, np.uint16, Tiff(planar=2)), "separate planes"),
    "z.dcm": (bytes(300), "DICOM without the mark"),
    "raw.tif": (encode(PHOTO, "TIFF", tiffinfo={271: "NIKON CORPORATION", 330: 8}), "NIKON"),
    "odd compression.tif": (raw((259, 34712)), "compression 34712"),
}  # fmt: skip


@pytest.mark.parametrize("name", NAMED)
def test_what_is_known_is_called_by_its_name(name):
    data, expected = NAMED[name]
    with pytest.raises(Rejection) as caught:
        decode_image(data, 32, "crop", "rgb", name)
    reason = str(caught.value)
    assert expected in reason and "\n" not in reason and len(reason) < 300
    assert not reason.startswith("damaged")


def test_every_known_format_says_what_to_do():
    for known in [*(known for _, _, known in MAGIC), *SUFFIXES.values()]:
        assert known.name and known.todo and not known.todo.endswith(".")


@pytest.mark.parametrize("format", [each for each in FORMATS if each not in ("PSD", "SUN")])  # Pillow writes these
def test_formats_that_pillow_reads_are_none_of_them(format):
    data = encode(PHOTO, format)
    assert recognise(data) == ""
    assert decode_image(data, 32, "crop", "rgb", f"a.{format}").format in (format, "PPM", "BMP", "DIB")


def test_an_ordinary_tiff_with_a_make_is_read():
    decode_image(encode(PHOTO, "TIFF", tiffinfo={271: "Canon"}), 32, "crop", "rgb", "a.tif")
    decode_image(encode(PHOTO, "TIFF", tiffinfo={271: "Hamamatsu", 330: 8}), 32, "crop", "rgb", "a.tif")
    floats = np.random.default_rng(0).random((9, 9, 1), np.float32)
    planes, plain = (write_tiff(floats, Tiff(1, planar, tags=((339, 3),))) for planar in (2, 1))
    assert np.array_equal(decode_image(planes, 9, "crop").pixels, decode_image(plain, 9, "crop").pixels)
    decode_image(encode(PHOTO, "TIFF", save_all=True, append_images=[PHOTO]), 32, "crop", "rgb", "a.tif")


@pytest.mark.parametrize(
    ("path", "name"),
    [("a/1.nii.gz", "NIfTI"), ("a.MP4", "a video"), ("b.pdf", "PDF"), ("a.jpg", None), ("gz", None)],
)
def test_suffixes(path, name):
    known = recognise_suffix(path)
    assert (known and known.name) == name


def decode(folder: Path, files: dict[str, bytes]) -> None:
    pack(folder, files)
    decode_tar(
        source=ExtractedTar(tar=folder / "extracted.tar", index=folder / "extracted.csv"),
        params=DecodeParams(image_size=16, fit="crop", channels="rgb", max_rejected=0.5),
        out=ImageFiles.in_folder(folder / "out"),
        workers=1,
    )


def test_files_passed_over_are_named_by_their_suffix(tmp_path, caplog):
    caplog.set_level("INFO", "unfreeze")
    with pytest.raises(UserError, match=r"none of them can be an image.*\n  a\.nii\.gz, b\.nii\.gz: NIfTI"):
        decode(tmp_path, {"a.nii.gz": b"x", "b.nii.gz": b"x", "labels.csv": b"x"})
    decode(tmp_path, {"a.mp4": b"x", "b.png": encode(PHOTO)})
    assert [record.message for record in caplog.records if record.message.startswith("a.mp4: a video")]


def test_rejects_are_told_once_for_each_reason(tmp_path, caplog):
    files = {f"{i}.png": encode(PHOTO) for i in range(10)}
    decode(tmp_path, files | {f"{i}.jpg": b"%PDF-1.7" for i in range(7)} | {"z.jpg": b""})
    [record] = caplog.records
    head, pdf, empty = record.message.splitlines()
    assert head.startswith("8 of 18 images cannot be used") and "rejected.csv" in head
    assert re.match(r"  0\.jpg, 1\.jpg, 2\.jpg, 3\.jpg, 4\.jpg and 2 more: PDF", pdf)
    assert empty == "  z.jpg: empty file"


def test_a_limit_of_pixels(tmp_path):
    for data in (encode(PHOTO), encode(PHOTO, "JPEG"), encode(PHOTO, "TIFF")):
        before = Image.MAX_IMAGE_PIXELS
        with pytest.raises(Rejection, match=r"more than 3,499 pixels \(decode\.max_pixels\)"):
            decode_image(data, 16, "crop", "rgb", "", Rules(max_pixels=3499))
        decode_image(data, 16, "crop", "rgb", "", Rules(max_pixels=3500))
        assert before == Image.MAX_IMAGE_PIXELS


def test_a_photograph_of_108_megapixels_is_read():
    large = PHOTO.resize((12000, 9000), Image.Resampling.NEAREST)
    decoded = decode_image(encode(large, "JPEG", quality=50), 64, "crop")
    assert (decoded.width, decoded.height) == (12000, 9000)
    expected = decode_image(encode(PHOTO.resize((1200, 900), Image.Resampling.NEAREST)), 64, "crop").pixels
    assert np.abs(decoded.pixels.astype(int) - expected).mean() < 3
