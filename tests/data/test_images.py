import csv
import hashlib
import io
import os
import signal
import struct
import subprocess
import sys
import tarfile
import time
import warnings
import zlib
from functools import partial
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image
from pydantic import ValidationError

from benchmarks.decode import photo
from unfreeze.console import UserError
from unfreeze.data import images
from unfreeze.data.images import DecodeParams, Rejected, Summary, decode_image, decode_tar, is_candidate
from unfreeze.data.store import open_array
from unfreeze.files import read_csv

GENERATOR = np.random.default_rng(0)
PHOTO = Image.fromarray(GENERATOR.integers(0, 256, (5, 7, 3), np.uint8)).resize((70, 50), Image.Resampling.BICUBIC)
LFS_POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 12345\n"


def encode(image, format="PNG", **options):
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


def colours(data, width=1):
    """The colours of an image of `width` pixels, left to right, or the mean colour."""
    return decode_image(data, width, "squish").pixels[0].tolist()


def palette(transparency):
    image = Image.new("P", (8, 8), 1)
    image.putpalette([0, 0, 0, 200, 0, 100])
    return encode(image, transparency=transparency)


MODES = {
    "L": (encode(Image.new("L", (8, 8), 77)), [[77, 77, 77]]),
    "1": (encode(Image.new("1", (8, 8), 1)), [[255, 255, 255]]),
    "RGB": (encode(Image.new("RGB", (8, 8), (1, 2, 3))), [[1, 2, 3]]),
    "RGBA": (encode(Image.new("RGBA", (8, 8), (255, 0, 0, 51))), [[255, 204, 204]]),
    "RGBA, hidden colour": (encode(Image.new("RGBA", (8, 8), (9, 9, 9, 0))), [[255, 255, 255]]),
    "LA": (encode(Image.new("LA", (8, 8), (0, 51))), [[204, 204, 204]]),
    "P": (palette(None), [[200, 0, 100]]),
    "P, transparent index": (palette(1), [[255, 255, 255]]),
    "P, alpha for each index": (palette(b"\xff\x33"), [[244, 204, 224]]),
    "L, transparent value": (encode(Image.new("L", (8, 8), 7), transparency=7), [[255, 255, 255]]),
    "CMYK JPEG": (encode(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG", quality=100), [[254, 0, 0]]),
    "CMYK TIFF": (encode(Image.new("CMYK", (8, 8), (255, 0, 0, 0)), "TIFF"), [[0, 255, 255]]),
    "YCbCr": (encode(Image.new("RGB", (8, 8), (0, 0, 255)).convert("YCbCr"), "TIFF"), [[0, 0, 254]]),
    "LAB": (encode(Image.new("RGB", (8, 8), (200, 30, 30)).convert("LAB"), "TIFF"), [[200, 29, 30]]),
    "16 bits": (grey([0, 256, 32768, 65535], np.uint16, "PNG"), [[0] * 3, [1] * 3, [128] * 3, [255] * 3]),
    "16 bits, big-endian": (
        encode(Image.frombytes("I;16B", (8, 8), b"\x80\x00" * 64), "TIFF"),
        [[128, 128, 128]],
    ),
    "16 bits RGB": (png(1, 1, 16, 2, b"\0\xff\xff\x80\x00\x01\x00"), [[255, 128, 1]]),
    "16 bits LA": (png(1, 1, 16, 4, b"\0\x00\x00\x33\x33"), [[204, 204, 204]]),
    "16 bits PGM": (b"P5 2 1 65535 \x01\x00\xff\xff", [[1] * 3, [255] * 3]),
    "I, 16 bits' worth": (grey([0, 255, 65535], np.int32), [[0] * 3, [0] * 3, [255] * 3]),
    "I, negative": (grey([-1000, 0, 1000], np.int32), [[0] * 3, [128] * 3, [255] * 3]),
    "I, wide": (grey([0, 2**20], np.int32), [[0] * 3, [255] * 3]),
    "I, one negative value": (grey([-5, -5], np.int32), [[0] * 3, [0] * 3]),
    "F, 0..1": (grey([0, 0.25, 0.5], np.float32), [[0] * 3, [64] * 3, [128] * 3]),
    "F, 0..255": (grey([0, 100, 200], np.float32), [[0] * 3, [100] * 3, [200] * 3]),
    "F, 0..65535": (grey([0, 256, 65535], np.float32), [[0] * 3, [1] * 3, [255] * 3]),
    "F, decibels": (grey([-40, -20, 0], np.float32), [[0] * 3, [128] * 3, [255] * 3]),
    "F, black": (grey([0, 0], np.float32), [[0] * 3, [0] * 3]),
    "animated": (
        encode(
            Image.new("RGB", (8, 8), (255, 0, 0)),
            "GIF",
            save_all=True,
            append_images=[Image.new("RGB", (8, 8), (0, 0, 255))],
        ),
        [[255, 0, 0]],
    ),
}


@pytest.mark.parametrize("name", MODES)
def test_every_mode_gets_the_right_colours(name):
    data, expected = MODES[name]
    np.testing.assert_allclose(colours(data, len(expected)), expected, atol=1)


def test_all_values_of_8_bits_survive_as_floats():
    data = encode(Image.fromarray(np.arange(256, dtype=np.float32).reshape(16, 16)), "TIFF")
    assert decode_image(data, 16, "crop").pixels[..., 0].ravel().tolist() == list(range(256))


def test_what_is_told_about_an_image():
    decoded = decode_image(encode(PHOTO.convert("P"), "GIF"), 32, "crop")
    assert decoded[1:] == (70, 50, "P", "GIF")
    assert decoded.pixels.shape == (32, 32, 3)
    assert decoded.pixels.dtype == np.uint8


@pytest.mark.parametrize("format", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied_once(format, orientation):
    # The inverse of each transposition, so that applying it shows the photo again.
    stored = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    image = PHOTO.transpose(stored[orientation]) if orientation > 1 else PHOTO
    exif = Image.Exif()
    exif[0x0112] = orientation
    decoded = decode_image(encode(image, format, exif=exif, quality=95), 32, "squish")
    expected = decode_image(encode(PHOTO), 32, "squish").pixels
    assert (decoded.width, decoded.height) == PHOTO.size
    assert np.abs(decoded.pixels.astype(int) - expected).mean() < 8


@pytest.mark.parametrize("exif", [b"Exif\0\0", b"Exif\0\0garbage", b"Exif\0\0II*\0\xff\xff\xff\xff", b"x" * 99])
def test_broken_exif_is_no_reason_to_reject(exif):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        decoded = decode_image(encode(PHOTO, "JPEG", exif=exif), 32, "crop")
    assert (decoded.width, decoded.height) == PHOTO.size


@pytest.mark.parametrize("source", [(70, 50), (50, 70), (64, 64), (31, 33), (33, 31), (333, 500), (17, 400)])
@pytest.mark.parametrize("size", [16, 33, 64])
def test_crop_is_resize_then_centre_crop(source, size):
    image = PHOTO.resize(source)
    width, height = source
    # torchvision's Resize(size) and CenterCrop(size)
    short = min(source)
    new_width, new_height = int(size * width / short), int(size * height / short)
    left, top = round((new_width - size) / 2.0), round((new_height - size) / 2.0)
    resized = image.resize((new_width, new_height), Image.Resampling.BILINEAR)
    expected = np.asarray(resized.crop((left, top, left + size, top + size))).astype(int)
    assert np.abs(decode_image(encode(image), size, "crop").pixels - expected).max() <= 1


def test_squish_is_a_plain_resize():
    expected = np.asarray(PHOTO.resize((32, 32), Image.Resampling.BILINEAR))
    np.testing.assert_array_equal(decode_image(encode(PHOTO), 32, "squish").pixels, expected)


@pytest.mark.parametrize("turned", [False, True])
def test_pad_mirrors_the_image_around_itself(turned):
    image, size = (PHOTO.transpose(Image.Transpose.TRANSPOSE), (25, 35)) if turned else (PHOTO, (35, 25))
    pixels = decode_image(encode(image), 35, "pad").pixels
    resized = np.asarray(image.resize(size, Image.Resampling.BILINEAR))
    if turned:
        pixels, resized = pixels.transpose(1, 0, 2), resized.transpose(1, 0, 2)
    np.testing.assert_array_equal(pixels[5:30], resized)
    np.testing.assert_array_equal(pixels[:5], pixels[6:11][::-1])
    np.testing.assert_array_equal(pixels[30:], pixels[24:29][::-1])


def gap(data, *how, monkeypatch):
    """The difference, in levels, between an image decoded as it is by default and exactly."""
    drafted = decode_image(data, *how)
    monkeypatch.setattr(images, "ROOM", 10**6)
    exact = decode_image(data, *how)
    assert drafted[1:] == exact[1:]
    return drafted.pixels.astype(float) - exact.pixels


@pytest.mark.parametrize("size", [128, 256, 512])
def test_a_photograph_of_12_megapixels_is_nearly_what_it_is_exactly(size, monkeypatch):
    off = gap(photo(4000, 3000, 1), size, "crop", monkeypatch=monkeypatch)
    assert 0 < np.sqrt((off**2).mean()) < 1
    assert abs(off).max() <= 8


# Neither side is a multiple of 8, so that the last pixel of a draft lies partly beyond the image.
WIDE = Image.open(io.BytesIO(photo(2003, 1301, 0)))


@pytest.mark.parametrize("fit", ["crop", "squish", "pad"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_draft_lies_where_the_image_lies(orientation, fit, monkeypatch):
    exif = Image.Exif()
    exif[0x0112] = orientation
    off = gap(encode(WIDE, "JPEG", exif=exif, quality=95), 96, fit, monkeypatch=monkeypatch)
    assert 0 < np.sqrt((off**2).mean()) < 1
    # The edges as well: a draft that is taken for an image of other proportions is off most there.
    assert (
        max(np.sqrt((off[edge] ** 2).mean()) for edge in np.s_[:2, -2:, (slice(None), 0), (slice(None), -1)]) < 2
    )


@pytest.mark.parametrize("mode, channels", [("L", "rgb"), ("CMYK", "rgb"), ("L", "grey"), ("RGB", "rgba")])
def test_drafts_of_every_jpeg_mode(mode, channels, monkeypatch):
    off = gap(encode(WIDE.convert(mode), "JPEG", quality=95), 96, "crop", channels, monkeypatch=monkeypatch)
    assert 0 < np.sqrt((off**2).mean()) < 1


@pytest.mark.parametrize("source, format", [((127, 500), "JPEG"), ((500, 127), "JPEG"), ((700, 700), "PNG")])
def test_what_is_less_than_four_times_the_stored_size_or_no_jpeg_is_exact(source, format, monkeypatch):
    assert not gap(encode(WIDE.resize(source), format), 32, "crop", monkeypatch=monkeypatch).any()


@pytest.mark.parametrize("source", [(1, 1), (1, 500), (500, 1), (2, 3000)])
@pytest.mark.parametrize("fit", ["crop", "squish", "pad"])
def test_extreme_shapes(source, fit):
    pixels = decode_image(encode(Image.new("RGB", source, (10, 200, 30))), 32, fit).pixels
    assert (pixels == (10, 200, 30)).all()


REJECTS = {
    "empty": (b"", "empty file"),
    "pointer": (LFS_POINTER, "Git-LFS pointer"),
    "text": (b"no image, only words", "not an image"),
    "HEIC": (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC"),
    "PostScript": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n", "not an image"),
    "bomb of 2.5 gigapixels": (png(50_000, 50_000, 8, 2), "more than 89,478,485 pixels"),
    "bomb of 100 megapixels": (png(10_000, 10_000, 8, 2), "more than 89,478,485 pixels"),
    "text bomb": (
        png(1, 1, 8, 2, extra=chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(2**21)))),
        "damaged (Decompressed data too large",
    ),
    "checksum": (encode(PHOTO).replace(b"IDAT", b"IDAT\x55", 1), "damaged"),
    "not a number": (grey([0.5, np.nan], np.float32), "damaged (values that are no finite numbers)"),
    "infinite": (grey([0.5, np.inf], np.float32), "damaged (values that are no finite numbers)"),
}


@pytest.mark.parametrize("name", REJECTS)
def test_rejects(name):
    data, reason = REJECTS[name]
    with pytest.raises(Rejected) as caught:
        decode_image(data, 32, "crop")
    assert str(caught.value).startswith(reason)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP"])
def test_truncated_images_are_rejected_wherever_they_end(format):
    data = encode(PHOTO, format)
    for end in np.linspace(1, len(data) * 0.95, 20).astype(int):
        with pytest.raises(Rejected, match=r"damaged|not an image"):
            decode_image(data[:end], 32, "crop")


@pytest.mark.parametrize("format", ["JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "TGA", "PPM", "JPEG2000", "ICO"])
def test_damaged_bytes_give_an_image_or_a_reason(format):
    data = bytearray(encode(PHOTO, format))
    generator = np.random.default_rng(1)
    for _ in range(40):
        damaged = bytearray(data)
        for position in generator.integers(0, min(len(data), 400), 3):
            damaged[position] = generator.integers(256)
        try:
            assert decode_image(bytes(damaged), 16, "crop").pixels.shape == (16, 16, 3)
        except Rejected as rejected:
            assert 0 < len(str(rejected)) < 250
            assert "0x" not in str(rejected)  # an address would differ from run to run


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("a/1.jpg", True),
        ("a/1.JPEG", True),
        ("a/1", True),
        ("a/1.unknown", True),
        ("a.csv/1.png", True),
        ("labels.csv", False),
        ("train/Labels.CSV", False),
        ("notes.txt", False),
        ("model.pth", False),
        (".DS_Store", False),
        ("a/._1.jpg", False),
        ("__MACOSX/a/1.jpg", False),
        ("a/Thumbs.db", False),
    ],
)
def test_which_files_are_tried(path, expected):
    assert is_candidate(path) is expected


def pack(folder: Path, files: dict[str, bytes]) -> None:
    """Write extracted.tar and extracted.csv as the extract stage does."""
    rows = []
    with tarfile.open(folder / "extracted.tar", "w") as tar:
        for path, data in sorted(files.items()):
            member = tarfile.TarInfo(path)
            member.size = len(data)
            rows.append((path, tar.offset + 512, len(data), hashlib.sha256(data).hexdigest()))
            tar.addfile(member, io.BytesIO(data))
    rows.append(("empty folder/", 0, 0, ""))
    with (folder / "extracted.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("path", "offset", "size", "sha256"), *sorted(rows)])


def decode(folder: Path, workers=1, size=16, fit="crop", max_rejected=1.0) -> Summary:
    params = DecodeParams(size=size, fit=fit, channels="rgb", max_rejected=max_rejected)
    tar, index = folder / "extracted.tar", folder / "extracted.csv"
    out = folder / "out"
    pixels, accepted, rejected = out / "pixels.npy", out / "images.csv", out / "rejected.csv"
    return decode_tar(tar, index, params, pixels, accepted, rejected, workers)


def some_files(count: int) -> dict[str, bytes]:
    """`count` images of different colours, one damaged after every fifth."""
    files = {f"{i:03}.png": encode(Image.new("RGB", (20, 20), (i, 0, 255 - i))) for i in range(count)}
    return files | {f"{i:03}a.png": files[f"{i:03}.png"][:50] for i in range(0, count, 5)}


def test_all_images_are_stored_in_path_order(tmp_path):
    red, blue = (encode(Image.new("RGB", (30, 20), colour)) for colour in ("red", "blue"))
    files = {"b.jpg": red, "a/2.png": blue, "a/1": red, "a/10.png": LFS_POINTER, "labels.csv": b"x"}
    pack(tmp_path, files)
    assert decode(tmp_path) == Summary(images=3, rejected=1, passed_over=1)
    pixels = open_array(tmp_path / "out" / "pixels.npy")
    assert pixels.shape == (3, 16, 16, 3)
    assert pixels[:, 8, 8].tolist() == [[255, 0, 0], [0, 0, 255], [255, 0, 0]]
    rows = read_csv(tmp_path / "out" / "images.csv")
    assert [row["path"] for row in rows] == ["a/1", "a/2.png", "b.jpg"]
    assert [row["row"] for row in rows] == ["0", "1", "2"]
    assert rows[0] == {
        "row": "0",
        "path": "a/1",
        "width": "30",
        "height": "20",
        "mode": "RGB",
        "pixels_sha256": hashlib.sha256(pixels[0].tobytes()).hexdigest(),
        "format": "PNG",
    }
    assert rows[2]["pixels_sha256"] == rows[0]["pixels_sha256"] != rows[1]["pixels_sha256"]
    (rejected,) = read_csv(tmp_path / "out" / "rejected.csv")
    assert rejected["path"] == "a/10.png"
    assert rejected["reason"].startswith("Git-LFS pointer")


def test_the_number_of_workers_changes_no_byte(tmp_path):
    pack(tmp_path, some_files(100))
    contents = []
    for workers in (1, 2, 3):
        assert decode(tmp_path, workers) == Summary(images=100, rejected=20, passed_over=0)
        contents.append([path.read_bytes() for path in sorted((tmp_path / "out").iterdir())])
    assert contents[0] == contents[1] == contents[2]
    assert open_array(tmp_path / "out" / "pixels.npy")[:, 0, 0, 0].tolist() == list(range(100))


def test_too_many_rejects_stop_the_stage(tmp_path):
    pack(tmp_path, some_files(100))
    with pytest.raises(UserError) as caught:
        decode(tmp_path, workers=2, max_rejected=0.1)
    message = str(caught.value)
    assert message.startswith("20 of 120 images cannot be used, decode.max_rejected allows a share of 0.1")
    assert "  000a.png: damaged" in message
    assert "rejected.csv" in message
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["rejected.csv"]
    assert len(read_csv(tmp_path / "out" / "rejected.csv")) == 20


def test_a_long_list_of_rejects_is_cut(tmp_path):
    pack(tmp_path, {f"{i:02}": b"" for i in range(30)})
    with pytest.raises(UserError, match=r"  19: empty file\n  \.\.\. and 10 more$"):
        decode(tmp_path)


def test_a_share_of_rejects_may_be_met_exactly(tmp_path):
    pack(tmp_path, {f"{i:03}": b"" if i < 29 else encode(PHOTO) for i in range(100)})
    assert decode(tmp_path, max_rejected=0.29) == Summary(images=71, rejected=29, passed_over=0)
    with pytest.raises(UserError, match="29 of 100"):
        decode(tmp_path, max_rejected=0.28)


def test_no_image_at_all(tmp_path):
    pack(tmp_path, {"labels.csv": b"x", "readme.md": b"y"})
    with pytest.raises(UserError, match=r"extracted\.csv lists 2 files and none of them can be an image"):
        decode(tmp_path)
    pack(tmp_path, {"a.jpg": b""})
    with pytest.raises(UserError, match=r"1 of 1 images cannot be used.*\n  a\.jpg: empty file"):
        decode(tmp_path, max_rejected=1.0)
    assert not (tmp_path / "out" / "pixels.npy").exists()


def test_a_tar_shorter_than_its_index(tmp_path):
    pack(tmp_path, {"a.png": encode(PHOTO)})
    os.truncate(tmp_path / "extracted.tar", 600)
    with pytest.raises(UserError, match=r"extracted\.tar ends before the end of a\.png; run the extract stage"):
        decode(tmp_path)


def test_a_giant_member_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(images, "MAX_BYTES", 1000)
    pack(tmp_path, {"a.png": encode(PHOTO), "b.png": encode(Image.new("L", (9, 9)))})
    assert decode(tmp_path) == Summary(images=1, rejected=1, passed_over=0)
    assert read_csv(tmp_path / "out" / "rejected.csv")[0]["reason"] == "larger than 1,000 bytes"


@pytest.mark.skipif(sys.platform != "linux", reason="only forked workers see the replaced decoder")
def test_a_killed_worker_is_a_clear_error(tmp_path, monkeypatch):
    def decode_or_die(data, *how):
        if data == b"deadly":
            os.kill(os.getpid(), signal.SIGKILL)
        return decode_image(data, *how)

    monkeypatch.setattr(images, "decode_image", decode_or_die)
    pack(tmp_path, some_files(30) | {"015b.png": b"deadly"})
    with pytest.raises(UserError, match=r"process was killed.* files from \d+[ab]?\.png to \d+[ab]?\.png"):
        decode(tmp_path, workers=2)
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_workers_end_with_their_parent(tmp_path):
    pack(tmp_path, some_files(20))
    code = (
        "import os, sys, time; from pathlib import Path; sys.path.insert(0, sys.argv[1])\n"
        "import test_images as t\n"
        "def slow(*_): print(os.getpid(), flush=True); time.sleep(60)\n"
        "t.images.decode_image = slow\n"
        "t.decode(Path(sys.argv[2]), workers=2)\n"
    )
    command = [sys.executable, "-c", code, Path(__file__).parent, tmp_path]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        workers = [parent.stdout.readline().strip() for _ in range(2)]
        parent.kill()
    assert len(set(workers)) == 2
    deadline = time.monotonic() + 10
    while any(runs(int(worker)) for worker in workers):
        assert time.monotonic() < deadline, "workers outlive their parent"
        time.sleep(0.05)


def runs(pid: int) -> bool:
    """Whether the process has not ended: one that has stays a zombie until whoever inherited it looks."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def touch(folder, chunk):
    (folder / str(chunk.first)).touch()
    return chunk.first


def test_only_a_few_chunks_are_under_way(tmp_path):
    chunks = images._chunks([images.Member(str(i), 0, 0) for i in range(40)], size=4096, workers=2)
    blocks = images._decode_in_order(partial(touch, tmp_path), chunks, workers=2)
    assert next(blocks) == 0
    time.sleep(0.2)
    assert len(list(tmp_path.iterdir())) <= 5
    assert list(blocks) == list(range(1, 40))


@pytest.mark.parametrize(
    "change",
    [{"size": 15}, {"size": 4097}, {"size": 32.5}, {"fit": "stretch"}, {"max_rejected": 1.1}, {"x": 1}],
)
def test_params_are_checked(change):
    with pytest.raises(ValidationError):
        DecodeParams(**({"size": 32, "fit": "crop", "channels": "rgb", "max_rejected": 0.1} | change))


def test_the_module_is_light():
    code = "import sys, unfreeze.data.images; print({'PIL', 'torch', 'tarfile'} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "set()"


@pytest.fixture(scope="session")
def odd_images(tmp_path_factory):
    real = os.environ.get("UNFREEZE_REAL_DATA")
    if not real:
        pytest.skip("UNFREEZE_REAL_DATA is not set")
    import py7zr

    folder = tmp_path_factory.mktemp("odd")
    with py7zr.SevenZipFile(Path(real) / "odd_images.7z") as archive:
        archive.extractall(folder)
    return next(folder.rglob("exif")).parent


@pytest.mark.parametrize("scene", ["Landscape", "Portrait"])
def test_photos_of_all_orientations_show_the_same_scene(odd_images, scene):
    paths = [odd_images / "exif" / f"{scene}_{i}.jpg" for i in range(1, 9)]
    decoded = [decode_image(path.read_bytes(), 96, "crop") for path in paths]
    first = decoded[0]
    assert first.width > first.height if scene == "Landscape" else first.width < first.height
    for other in decoded[1:]:
        assert (other.width, other.height) == (first.width, first.height)
        # The photos differ by a number in the middle and by compression.
        assert np.abs(other.pixels.astype(int) - first.pixels).mean() < 2


ODD = {  # mean colour, or the start of the reason; the colours were looked at
    "1_trns.png": (124, 124, 124),  # dithered, its white transparent
    "broken.png": "not an image",
    "broken_data_stream.png": "damaged (unrecognized data stream contents",
    "crash-0da013a13571cc8eb457a39fee8db18f8a3c7127.tif": (255, 255, 255),  # libtiff forgives its fax code
    "crash-2020-10-test.tif": "damaged (decoder error",
    "decompression_bomb.gif": "more than 89,478,485 pixels",
    "decompression_bomb.ico": "more than 89,478,485 pixels",
    "dummy.container": "not an image",
    "empty.jpg": "empty file",
    "hopper.bmp": (90, 80, 95),
    "hopper.gif": (90, 80, 95),
    "hopper.jpg": (90, 80, 95),
    "hopper.png": (90, 80, 95),
    "hopper.ppm": (90, 80, 95),
    "hopper.tif": (90, 80, 95),
    "hopper.webp": (90, 80, 95),
    "hopper_16bit.pgm": (84, 84, 84),  # as hopper_gray.jpg: the 16 bits are not clipped
    "hopper_bad_exif.jpg": (126, 126, 126),
    "hopper_gray.jpg": (85, 85, 85),
    "invalid-exif.jpg": (92, 92, 92),
    "iss634.gif": (135, 137, 90),  # animated
    "iss634.webp": (135, 137, 90),  # animated
    "la.tga": (125, 125, 125),  # a transparent hole, white
    "lfs_pointer_000bec180eb18c7604dcecc8fe0dba07.jpg": "Git-LFS pointer",
    "lfs_pointer_001513dfcb2ffafc82cccf4d8bbaba97.jpg": "Git-LFS pointer",
    "p_trns_single.png": (128, 176, 163),  # a transparent rectangle, white
    "photoshop-200dpi-broken.jpg": (92, 92, 92),
    "pil123rgba.png": (186, 184, 167),  # a bird on white
    "pil_sample_cmyk.jpg": (30, 5, 7),  # RED in red on black, as an inverted CMYK must come out
    "png_decompression_dos.png": "damaged (Decompressed data too large",
    "png_named.jpg": (90, 80, 95),
    "psd-oob-write-overflow.psd": (128, 128, 128),  # its whole picture is good, only a layer is not
    "sugarshack_bad_mpo_header.jpg": (123, 112, 101),
    "text.jpg": "not an image",
    "tiff_16bit_RGB.tiff": (36, 28, 22),
    "tiff_16bit_RGBa.tiff": (210, 202, 197),
    "tiff_strip_cmyk_jpeg.tif": (30, 5, 7),
    "truncated_app14.jpg": (28, 5, 4),
    "truncated_image.png": "damaged (image file is truncated",
    "truncated_jpeg.jpg": "damaged (image file is truncated",
    "uncompressed_la.png": (241, 241, 241),
}


def test_each_odd_image_has_its_expected_result(odd_images):
    paths = sorted((odd_images / "mixed").iterdir())
    assert [path.name for path in paths] == sorted(ODD)
    wrong = {}
    for path in paths:
        expected = ODD[path.name]
        try:
            mean = decode_image(path.read_bytes(), 128, "crop").pixels.mean((0, 1))
            good = not isinstance(expected, str) and np.abs(mean - expected).max() < 2
        except Rejected as rejected:
            mean = str(rejected)
            good = isinstance(expected, str) and mean.startswith(expected)
        if not good:
            wrong[path.name] = mean
    assert wrong == {}


def test_odd_images_make_a_data_set(odd_images, tmp_path):
    pack(tmp_path, {path.name: path.read_bytes() for path in (odd_images / "mixed").iterdir()})
    rejects = sum(isinstance(result, str) for result in ODD.values())
    assert decode(tmp_path, workers=2) == Summary(len(ODD) - rejects, rejects, 0)


def channels(image, kind, size=1):
    return decode_image(encode(image), size, "squish", kind).pixels


def test_grey_is_one_channel_and_of_a_grey_image_the_image_itself():
    ramp = np.arange(256, dtype=np.uint8).reshape(16, 16)
    pixels = channels(Image.fromarray(ramp), "grey", 16)
    assert pixels.shape == (16, 16, 1)
    assert np.array_equal(pixels[..., 0], ramp)
    assert channels(Image.new("RGB", (4, 4), (255, 0, 0)), "grey").tolist() == [[[76]]]  # ITU-R 601: 0.299 x 255
    assert channels(Image.new("RGBA", (4, 4), (9, 9, 9, 0)), "grey").tolist() == [[[255]]]  # on white
    for fit in ("crop", "pad", "squish"):
        assert decode_image(encode(PHOTO), 20, fit, "grey").pixels.shape == (20, 20, 1)
        assert decode_image(encode(PHOTO), 20, fit, "rgba").pixels.shape == (20, 20, 4)


def test_transparency_is_the_fourth_channel():
    assert channels(Image.new("RGBA", (4, 4), (200, 100, 0, 128)), "rgba", 4)[1, 2].tolist() == [200, 100, 0, 128]
    assert channels(Image.new("RGB", (4, 4), (200, 100, 0)), "rgba").tolist() == [[[200, 100, 0, 255]]]
    hidden = Image.new("RGBA", (4, 4), (200, 100, 0, 0))
    assert channels(hidden, "rgba", 4).max() == 0  # nobody can see it


def test_the_array_has_the_channels_that_were_asked_for(tmp_path):
    pack(tmp_path, {"a.png": encode(PHOTO), "b.png": encode(PHOTO.convert("L"))})
    for kind, count in (("grey", 1), ("rgba", 4)):
        params = DecodeParams(size=16, fit="crop", channels=kind, max_rejected=0.0)
        out = [tmp_path / f"{kind}.{suffix}" for suffix in ("npy", "csv", "txt")]
        decode_tar(tmp_path / "extracted.tar", tmp_path / "extracted.csv", params, *out, workers=1)
        assert open_array(out[0]).shape == (2, 16, 16, count)
