"""Formats that packages beside Pillow read: HEIC, JPEG XL, DICOM."""

import io
import subprocess
import sys

import numpy as np
import pytest
from image_files import PHOTO, encode
from PIL import Image

from unfreeze.images.convert import STANDARD, Rules, decode_image
from unfreeze.images.members import Rejection
from unfreeze.images.opener import read_jxl_size

pillow_heif = pytest.importorskip("pillow_heif", reason="the extra `formats` is not installed")
pillow_jxl = pytest.importorskip("pillow_jxl", reason="the extra `formats` is not installed")
pydicom = pytest.importorskip("pydicom", reason="the extra `formats` is not installed")

pillow_heif.register_heif_opener()
LARGE = PHOTO.resize((320, 200), Image.Resampling.BICUBIC)


def near(data: bytes, image: Image.Image = LARGE, most: float = 3) -> None:
    found = decode_image(data, 64, "squish").pixels.astype(int)
    assert np.abs(found - decode_image(encode(image), 64, "squish").pixels).mean() < most


def test_heic():
    data = encode(LARGE, "HEIF", quality=95)
    near(data)
    assert decode_image(data, 64, "crop").format == "HEIF"
    grey = encode(LARGE.convert("L"), "HEIF", quality=95)
    near(grey, LARGE.convert("L"))
    clear = encode(Image.new("RGBA", (64, 64), (255, 0, 0, 0)), "HEIF", quality=95)
    assert decode_image(clear, 16, "crop").pixels.min() > 250  # on white


@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_heic_is_upright(orientation):
    turn = {3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encode(LARGE.transpose(turn[orientation]), "HEIF", quality=95, exif=exif.tobytes())
    decoded = decode_image(data, 64, "squish")
    assert (decoded.width, decoded.height) == LARGE.size
    near(data)


def test_avif():
    near(encode(LARGE, "AVIF", quality=95))


@pytest.mark.parametrize("options", [{}, {"use_container": True}, {"lossless": True}])
def test_jpeg_xl(options):
    data = encode(LARGE, "JXL", **options)
    near(data)
    assert decode_image(data, 64, "crop").format == "JXL"


SIZES = [(1, 1), (8, 8), (256, 256), (255, 33), (512, 300), (1024, 768), (2000, 9), (9, 2000), (1600, 900)]


@pytest.mark.parametrize("size", [*SIZES, (640, 800), (9000, 40)])
def test_the_size_of_a_jpeg_xl_stands_in_its_header(size):
    for container in (False, True):
        assert read_jxl_size(encode(Image.new("RGB", size), "JXL", use_container=container, effort=1)) == size


@pytest.mark.parametrize("format", ["HEIF", "JXL"])
def test_the_limit_of_pixels_holds(format):
    data = encode(LARGE, format)
    with pytest.raises(Rejection, match=r"more than 63,999 pixels \(decode\.max_pixels\)"):
        decode_image(data, 16, "crop", "rgb", "", Rules(max_pixels=63_999))
    decode_image(data, 16, "crop", "rgb", "", Rules(max_pixels=64_000))


@pytest.mark.parametrize("format", ["HEIF", "JXL"])
def test_damaged_ones_are_rejected_or_read(format):
    data = bytearray(encode(LARGE, format))
    generator = np.random.default_rng(1)
    for _ in range(30):
        damaged = bytearray(data)
        for position in generator.integers(12, len(data), 4):
            damaged[position] = generator.integers(256)
        for content in (bytes(damaged), bytes(data[: generator.integers(13, len(data))])):
            try:
                assert decode_image(content, 16, "crop").pixels.shape == (16, 16, 3)
            except Rejection as rejection:
                assert "0x" not in str(rejection)


def test_16_bits_of_jpeg_xl():
    values = np.asarray(LARGE.convert("L")).astype(np.uint16) * 16
    decoded = decode_image(encode(Image.fromarray(values), "JXL", lossless=True), 64, "crop")
    assert decoded.extent == ("integers", values.min(), values.max())


@pytest.mark.parametrize(("module", "format", "package"), [("pillow_heif", "HEIF", "pillow-heif"),
                                                          ("pillow_jxl", "JXL", "pillow-jxl-plugin")])  # fmt: skip
def test_without_the_package_its_name_is_told(module, format, package, monkeypatch):
    data = encode(LARGE, format)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(Rejection, match=rf"pip install {package} .*unfreeze\[formats\]"):
        decode_image(data, 16, "crop")


def test_they_are_imported_only_for_their_files():
    code = (
        "import sys; from unfreeze.images.convert import decode_image\n"
        "decode_image(sys.stdin.buffer.read(), 16, 'crop')\n"
        "print({'pillow_heif', 'pillow_jxl', 'pydicom'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], input=encode(PHOTO), capture_output=True, check=True)
    assert done.stdout.strip() == b"set()"


# --- DICOM

RAMP = np.arange(256, dtype=np.uint16).reshape(16, 16)


def dicom(pixels: np.ndarray, bits: int | None = None, syntax: str = "1.2.840.10008.1.2.1", **tags) -> bytes:
    """A DICOM file of `pixels`, `[H, W]` or `[H, W, 3]`, that fill `bits` bits."""
    from pydicom.dataset import FileDataset, FileMetaDataset

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = "1.2.840.10008.5.1.4.1.1.7", "1.2.3"
    meta.TransferSyntaxUID = syntax
    dataset = FileDataset(None, {}, file_meta=meta, preamble=bytes(128))
    allocated = pixels.dtype.itemsize * 8
    dataset.Rows, dataset.Columns = pixels.shape[:2]
    dataset.BitsAllocated, dataset.BitsStored = allocated, bits or allocated
    dataset.HighBit = dataset.BitsStored - 1
    dataset.PixelRepresentation = int(pixels.dtype.kind == "i")
    dataset.SamplesPerPixel = 3 if pixels.ndim == 3 else 1
    dataset.PhotometricInterpretation = "RGB" if pixels.ndim == 3 else "MONOCHROME2"
    if pixels.ndim == 3:
        dataset.PlanarConfiguration = 0
    dataset.PixelData = pixels.tobytes()
    for name, value in tags.items():
        setattr(dataset, name, value)
    file = io.BytesIO()
    dataset.save_as(file, enforce_file_format=True)
    return file.getvalue()


def grey(data: bytes, rules: Rules = STANDARD) -> np.ndarray:
    return decode_image(data, 16, "crop", "grey", "a.dcm", rules).pixels[..., 0].astype(int)


def test_a_dicom_without_a_window_has_the_range_of_the_set():
    decoded = decode_image(dicom(RAMP * 16, bits=12), 16, "crop", "grey")
    assert (decoded.format, decoded.extent) == ("DICOM", ("integers", 0, 4080))
    assert np.array_equal(grey(dicom(RAMP * 16, bits=12), Rules(ranges={"integers": (0, 4095)})), RAMP)


def test_slope_and_intercept_make_the_modality_s_values():
    data = dicom(RAMP, RescaleSlope=2, RescaleIntercept=-1024)
    assert decode_image(data, 16, "crop").extent == ("integers", -1024, -1024 + 2 * 255)
    assert decode_image(dicom(RAMP, RescaleSlope=0.5, RescaleIntercept=0), 16, "crop").extent.kind == "floats"


def test_the_first_window_is_applied():
    hounsfield = (RAMP.astype(np.int16) - 128) * 10
    data = dicom(hounsfield, WindowCenter=[40, 500], WindowWidth=[400, 2000])
    expected = np.clip((hounsfield - 39.5) / 399 + 0.5, 0, 1) * 255
    assert np.abs(grey(data) - expected).max() <= 0.5
    exact = dicom(hounsfield, WindowCenter=40, WindowWidth=400, VOILUTFunction="LINEAR_EXACT")
    assert np.abs(grey(exact) - np.clip((hounsfield - 40) / 400 + 0.5, 0, 1) * 255).max() <= 0.5
    sigmoid = dicom(hounsfield, WindowCenter=40, WindowWidth=400, VOILUTFunction="SIGMOID")
    assert np.abs(grey(sigmoid) - 255 / (1 + np.exp(-4 * (hounsfield - 40) / 400))).max() <= 0.5
    with pytest.raises(Rejection, match="damaged"):
        grey(dicom(hounsfield, WindowCenter=40, WindowWidth=0))


def test_monochrome1_is_inverted():
    inverted = {"PhotometricInterpretation": "MONOCHROME1"}
    scale = Rules(ranges={"integers": (0, 255)})
    assert np.array_equal(grey(dicom(RAMP.astype(np.uint8), **inverted), scale), 255 - RAMP)
    window = {"WindowCenter": 128, "WindowWidth": 256}
    assert np.abs(grey(dicom(RAMP, **inverted, **window)) - (255 - RAMP.astype(int))).max() <= 1
    signed = RAMP.astype(np.int16) - 128
    assert decode_image(dicom(signed, bits=8, **inverted), 16, "crop").extent == ("integers", -128, 127)
    assert grey(dicom(signed, bits=8, **inverted), Rules(ranges={"integers": (-128, 127)}))[0, 0] == 255


def test_colour_and_frames():
    photo = np.asarray(PHOTO.resize((16, 16)))
    assert np.array_equal(decode_image(dicom(photo), 16, "crop").pixels, photo)
    two = np.concatenate([RAMP, RAMP[::-1]]).astype(np.uint8)
    frames = dicom(two, Rows=16, NumberOfFrames=2)
    decoded = decode_image(frames, 16, "crop", "grey", "", Rules(ranges={"integers": (0, 255)}))
    assert np.array_equal(decoded.pixels[..., 0], RAMP) and decoded.notes


def test_compressed_dicom():
    from pydicom import dcmread
    from pydicom.encaps import encapsulate

    rle = dcmread(io.BytesIO(dicom(RAMP * 16, bits=12)))
    rle.compress("1.2.840.10008.1.2.5")
    file = io.BytesIO()
    rle.save_as(file)
    assert np.array_equal(grey(file.getvalue(), Rules(ranges={"integers": (0, 4095)})), RAMP)
    ramp = RAMP.astype(np.uint8)
    content = encapsulate([encode(Image.fromarray(ramp), "JPEG", quality=100)])
    jpeg = dicom(ramp, syntax="1.2.840.10008.1.2.4.50", PixelData=content)
    assert np.abs(grey(jpeg, Rules(ranges={"integers": (0, 255)})) - RAMP).max() <= 4
    lossless = dicom(RAMP, syntax="1.2.840.10008.1.2.4.70", PixelData=encapsulate([b"\xff\xd8\xff\xc3 not read"]))
    with pytest.raises(Rejection, match=r"DICOM compressed as JPEG Lossless.*decompress it"):
        grey(lossless)


def test_what_else_a_dicom_may_be(monkeypatch):
    report = pydicom.dcmread(io.BytesIO(dicom(RAMP)))
    del report.PixelData
    file = io.BytesIO()
    report.save_as(file)
    with pytest.raises(Rejection, match="DICOM without an image"):
        grey(file.getvalue())
    deflated = io.BytesIO()
    dataset = pydicom.dcmread(io.BytesIO(dicom(RAMP)))
    dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1.99"
    dataset.save_as(deflated)
    with pytest.raises(Rejection, match="deflated"):
        grey(deflated.getvalue())
    with pytest.raises(Rejection, match=r"more than 255 pixels \(decode\.max_pixels\)"):
        grey(dicom(RAMP), Rules(max_pixels=255))
    with pytest.raises(Rejection, match="damaged"):
        grey(dicom(RAMP)[:-100])
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(Rejection, match=r"pip install pydicom .*unfreeze\[formats\]"):
        grey(dicom_bytes)


dicom_bytes = dicom(RAMP)
