"""One range for all images of a data set that have more than 8 bits a channel."""

import csv
import hashlib
import io
import logging

import numpy as np
import py7zr
import pytest
from image_files import PHOTO, Tiff, chunk, encode, pack, png, read_rows, write_tiff
from PIL import Image

from unfreeze.core.arrays import open_array
from unfreeze.core.console import UserError
from unfreeze.core.files import read_json
from unfreeze.images.convert import Rules, decode_image
from unfreeze.images.decode import decode_tar
from unfreeze.images.members import ExtractedTar, Rejection
from unfreeze.images.outs import ImageFiles
from unfreeze.images.params import DecodeParams

GREY = np.asarray(PHOTO.convert("L"))
RGB = np.asarray(PHOTO)


def decode(folder, files, workers=1, **params) -> ImageFiles:
    pack(folder, files)
    settings = {"image_size": 32, "fit": "crop", "channels": "rgb", "max_rejected": 0.5, **params}
    out = ImageFiles.in_folder(folder / "out")
    source = ExtractedTar(tar=folder / "extracted.tar", index=folder / "extracted.csv")
    decode_tar(source=source, params=DecodeParams(**settings), out=out, workers=workers)
    return out


def deep(pixels: np.ndarray, bits: int) -> np.ndarray:
    """The pixels of 8 bits as 16-bit values that fill `bits` bits."""
    return pixels.astype(np.uint16) << (bits - 8)


def grey_tiff(bits: int, pixels=GREY) -> bytes:
    return encode(Image.fromarray(deep(pixels, bits)), "TIFF")


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_values_of_every_depth_are_stored_as_those_of_8_bits(tmp_path, bits, caplog):
    caplog.set_level(logging.INFO, "unfreeze")
    out = decode(
        tmp_path, {"a.png": encode(PHOTO.convert("L")), "b.tif": grey_tiff(bits), "c.tif": grey_tiff(bits)}
    )
    pixels = open_array(out.pixels)
    assert np.array_equal(pixels[1], pixels[0]) and np.array_equal(pixels[2], pixels[0])
    assert read_json(out.card)["ranges"] == {"integers": [0, 2**bits - 1]}
    assert f"2 fill {bits}" in caplog.text and f"{2**bits - 1:,}" in caplog.text and "decode.range" in caplog.text


def test_the_hashes_are_those_of_the_stored_pixels(tmp_path):
    files = {f"{i:02}.tif": grey_tiff(12, np.roll(GREY, i)) for i in range(12)} | {
        "05a.tif": b"",
        "x.png": encode(PHOTO),
    }
    contents = []
    for workers in (1, 3):
        out = decode(tmp_path, files, workers)
        pixels, rows = open_array(out.pixels), read_rows(out.images)
        assert [row["row"] for row in rows] == [str(i) for i in range(13)]
        assert [row["pixels_sha256"] for row in rows] == [hashlib.sha256(each).hexdigest() for each in pixels]
        contents.append([path.read_bytes() for path in sorted((tmp_path / "out").iterdir())])
    assert contents[0] == contents[1]
    with out.images.open(newline="") as file:  # as the csv module writes it
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(csv.reader(file))
    assert out.images.read_text() == text.getvalue()


def test_one_range_holds_for_dark_and_bright_images(tmp_path, caplog):
    caplog.set_level(logging.INFO, "unfreeze")
    dark = GREY // 40
    out = decode(tmp_path, {"a.tif": grey_tiff(12, dark), "b.tif": grey_tiff(12), "c.png": encode(PHOTO)})
    pixels = open_array(out.pixels)
    assert pixels[0].max() <= 6 and pixels[1].max() > 150
    assert "1 fill 8, 1 fill 12" in caplog.text or "1 fill 10, 1 fill 12" in caplog.text


def test_images_of_8_bits_have_no_range(tmp_path, caplog):
    caplog.set_level(logging.INFO, "unfreeze")
    out = decode(tmp_path, {"a.png": encode(PHOTO), "b.jpg": encode(PHOTO, "JPEG")})
    assert list(read_json(out.card)) == ["image_size", "fit", "channels"] and caplog.text == ""


def test_the_range_can_be_set(tmp_path, caplog):
    caplog.set_level(logging.INFO, "unfreeze")
    out = decode(tmp_path, {"a.tif": grey_tiff(12), "b.png": encode(PHOTO)}, range=10)
    expected = np.minimum(deep(GREY, 12) >> 2, 255).astype(np.uint8)
    assert np.array_equal(
        open_array(out.pixels)[0], decode_image(encode(Image.fromarray(expected)), 32, "crop").pixels
    )
    assert read_json(out.card)["ranges"] == {"integers": [0, 1023]}
    assert "clipped in a.tif" in caplog.text


@pytest.mark.parametrize("value", [9, "8", True, "12 bits", None])
def test_other_ranges_are_refused(value):
    with pytest.raises(ValueError, match="range"):
        DecodeParams(image_size=32, fit="crop", channels="rgb", max_rejected=0.1, range=value)


def test_floats_get_one_range(tmp_path, caplog):
    caplog.set_level(logging.INFO, "unfreeze")
    files = {
        "a.tif": encode(Image.fromarray(np.full((40, 40), -10, np.float32)), "TIFF"),
        "b.tif": encode(Image.fromarray(np.full((40, 40), 30, np.float32)), "TIFF"),
        "c.tif": encode(Image.fromarray(np.full((40, 40), 10, np.float32)), "TIFF"),
    }
    out = decode(tmp_path, files)
    assert open_array(out.pixels)[:, 5, 5, 0].tolist() == [0, 255, 128]
    assert read_json(out.card)["ranges"] == {"floats": [-10, 30]}
    assert "-10.0 is black and 30.0 white" in caplog.text


def test_signed_integers_get_one_range(tmp_path):
    hounsfield = [np.full((40, 40), value, np.int32) for value in (-1000, 0, 1000)]
    out = decode(
        tmp_path, {f"{i}.tif": encode(Image.fromarray(each), "TIFF") for i, each in enumerate(hounsfield)}
    )
    assert open_array(out.pixels)[:, 5, 5, 0].tolist() == [0, 128, 255]
    assert read_json(out.card)["ranges"] == {"integers": [-1000, 1000]}


def test_images_that_show_nothing_stop_the_stage(tmp_path):
    with pytest.raises(UserError, match=r"all 2 images .* decode\.range = 16"):
        decode(tmp_path, {"a.tif": grey_tiff(8), "b.tif": grey_tiff(8)}, range=16)
    assert list((tmp_path / "out").iterdir()) == [tmp_path / "out" / "rejected.csv"]
    black, white = (encode(Image.new("RGB", (20, 20), colour)) for colour in ("black", "white"))
    with pytest.raises(UserError, match="all 2 images"):
        decode(tmp_path, {"a.png": black, "b.png": white})
    assert open_array(decode(tmp_path, {"a.png": black, "b.png": encode(PHOTO)}).pixels).shape[0] == 2


KINDS = {
    "RGB": (3, Tiff()),
    "RGB, deflated": (3, Tiff(deflate=True)),
    "RGBA": (4, Tiff(extra=(2,))),
    "RGBX": (4, Tiff(extra=(0,))),
    "CMYK": (4, Tiff(photometric=5)),
    "CMYK, deflated": (4, Tiff(photometric=5, deflate=True)),
}


@pytest.mark.parametrize("order", ["<u2", ">u2"])
@pytest.mark.parametrize("kind", KINDS)
def test_colour_of_16_bits_keeps_what_it_fills(kind, order, tmp_path):
    channels, how = KINDS[kind]
    pixels = np.random.default_rng(1).integers(0, 256, (32, 32, channels), np.uint8)
    small, large = write_tiff(pixels, how), write_tiff(deep(pixels, 12).astype(order), how)
    out = decode(tmp_path, {"a.tif": small, "b.tif": large}, channels="rgba")
    stored = open_array(out.pixels)
    assert np.array_equal(stored[0], stored[1])
    assert read_json(out.card)["ranges"] == {"integers": [0, 4095]}


def to_png(pixels: np.ndarray, colour: int) -> bytes:
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    return png(pixels.shape[1], pixels.shape[0], 16, colour, rows)


@pytest.mark.parametrize(("colour", "channels"), [(0, 1), (2, 3), (4, 2), (6, 4)])
def test_png_of_16_bits(colour, channels, tmp_path):
    pixels = np.random.default_rng(1).integers(0, 256, (32, 32, channels), np.uint8)
    flat = pixels[..., 0] if channels == 1 else pixels
    mode = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}[channels]
    files = {"a.png": encode(Image.fromarray(flat, mode)), "b.png": to_png(deep(pixels, 12), colour)}
    stored = open_array(decode(tmp_path, files, channels="rgba").pixels)
    assert np.array_equal(stored[0], stored[1])


def test_opaque_stays_opaque(tmp_path):
    pixels = np.dstack([deep(RGB, 12), np.full(RGB.shape[:2], 65535, np.uint16)])
    stored = open_array(
        decode(tmp_path, {"a.png": to_png(pixels, 6), "b.png": encode(PHOTO)}, channels="rgba").pixels
    )
    assert np.array_equal(stored[0], stored[1])


def test_what_pillow_would_misread_is_refused(tmp_path):
    planes = write_tiff(deep(RGB, 12).astype("<u2"), Tiff(planar=2))
    with pytest.raises(Rejection, match="separate planes"):
        decode_image(planes, 32, "crop")
    premultiplied = write_tiff(np.full((8, 8, 4), 900, "<u2"), Tiff(extra=(1,)))
    deflated = write_tiff(deep(RGB, 12), Tiff(planar=2, deflate=True))
    for data, what in ((premultiplied, "RGBa;16L"), (deflated, "separate planes")):
        with pytest.raises(UserError, match=rf"a\.tif .*{what}.*decode\.range: 16"):
            decode(tmp_path, {"a.tif": data, "b.png": encode(PHOTO)})
        assert not (tmp_path / "out" / "images.csv").exists()
    decode(tmp_path, {"a.tif": deflated, "b.png": encode(PHOTO)}, range=16)


def test_the_range_of_a_network_holds_for_a_new_image():
    rules = Rules(ranges={"integers": (0, 4095)})
    dark = encode(Image.fromarray(deep(GREY // 8, 12)), "TIFF")
    expected = decode_image(encode(Image.fromarray(GREY // 8)), 32, "crop").pixels
    assert np.array_equal(decode_image(dark, 32, "crop", "rgb", "", rules).pixels, expected)


def test_photographs_as_12_bit_tiff_are_stored_as_the_originals(real_data, tmp_path):
    with py7zr.SevenZipFile(real_data / "ants_bees.7z") as archive:
        names = sorted(name for name in archive.getnames() if name.endswith(".jpg"))[::60]
        archive.extract(tmp_path / "raw", names)
    files = {}
    for i, name in enumerate(names):
        image = Image.open(tmp_path / "raw" / name).convert("RGB")
        files[f"{i}.png"] = encode(image)
        files[f"{i}.tif"] = write_tiff(deep(np.asarray(image), 12), Tiff(deflate=i % 2 == 0))
    assert len(files) >= 10
    pixels = open_array(decode(tmp_path, files, image_size=128).pixels).astype(int)
    assert np.abs(pixels[::2] - pixels[1::2]).max() <= 1


def test_frames_and_channels_that_are_left_out_are_told(tmp_path, caplog):
    caplog.set_level(logging.INFO, "unfreeze")
    frames = encode(PHOTO.convert("P"), "GIF", save_all=True, append_images=[Image.new("P", PHOTO.size)])
    near_infrared = write_tiff(np.zeros((9, 9, 5), np.uint8) + 40, Tiff(extra=(0, 0)))
    decode(tmp_path, {"a.gif": frames, "b.tif": near_infrared, "c.png": encode(PHOTO)})
    lines = [record.message for record in caplog.records]
    assert any(line.startswith("a.gif: ") and "the first is taken" in line for line in lines)
    assert any(line.startswith("b.tif: ") and "more channels" in line for line in lines)
    assert len(lines) == 2


def test_an_odd_chunk_before_the_pixels_changes_nothing(tmp_path):
    data = to_png(deep(RGB, 12), 2)
    data = data.replace(b"IDAT", b"IDAT", 1)
    with_text = data[:33] + chunk(b"tEXt", b"a\0b") + data[33:]
    stored = open_array(decode(tmp_path, {"a.png": data, "b.png": with_text}).pixels)
    assert np.array_equal(stored[0], stored[1])


def test_a_range_without_an_effect_is_told(tmp_path, caplog):
    caplog.set_level(logging.INFO, "unfreeze")
    decode(tmp_path, {"a.png": encode(PHOTO)}, range=12)
    [record] = caplog.records
    assert record.message.startswith("decode.range = 12 has no effect")
