import hashlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from image_files import LFS_POINTER, PHOTO, encode, pack, read_rows
from PIL import Image
from pydantic import ValidationError

from unfreeze.core.arrays import open_array
from unfreeze.core.console import UserError
from unfreeze.core.files import read_json
from unfreeze.images import decode, members
from unfreeze.images.convert import decode_image
from unfreeze.images.decode import DecodeParams, choose_chunk_length, decode_tar
from unfreeze.images.members import ExtractedTar
from unfreeze.images.outs import LISTED, Counts, ImageFiles, write_rejections


def decode_folder(folder: Path, workers=1, max_rejected=1.0) -> Counts:
    return decode_tar(
        source=ExtractedTar(tar=folder / "extracted.tar", index=folder / "extracted.csv"),
        params=DecodeParams(image_size=16, fit="crop", channels="rgb", max_rejected=max_rejected),
        out=ImageFiles.in_folder(folder / "out"),
        workers=workers,
    )


def some_files(count: int) -> dict[str, bytes]:
    """`count` images of different colours, one damaged after every fifth."""
    files = {f"{i:03}.png": encode(Image.new("RGB", (20, 20), (i, 0, 255 - i))) for i in range(count)}
    return files | {f"{i:03}a.png": files[f"{i:03}.png"][:50] for i in range(0, count, 5)}


def test_all_images_are_stored_in_path_order(tmp_path):
    red, blue = (encode(Image.new("RGB", (30, 20), colour)) for colour in ("red", "blue"))
    files = {"b.jpg": red, "a/2.png": blue, "a/1": red, "a/10.png": LFS_POINTER, "labels.csv": b"x"}
    pack(tmp_path, files)
    assert decode_folder(tmp_path) == Counts(images=3, rejected=1, other_files=1)
    pixels = open_array(tmp_path / "out" / "pixels.npy")
    assert pixels.shape == (3, 16, 16, 3)
    assert pixels[:, 8, 8].tolist() == [[255, 0, 0], [0, 0, 255], [255, 0, 0]]
    rows = read_rows(tmp_path / "out" / "images.csv")
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
    (rejected,) = read_rows(tmp_path / "out" / "rejected.csv")
    assert rejected["path"] == "a/10.png"
    assert rejected["reason"].startswith("Git-LFS pointer")


def test_the_number_of_workers_changes_no_byte(tmp_path):
    pack(tmp_path, some_files(100))
    contents = []
    for workers in (1, 2, 3):
        assert decode_folder(tmp_path, workers) == Counts(images=100, rejected=20, other_files=0)
        contents.append([path.read_bytes() for path in sorted((tmp_path / "out").iterdir())])
    assert contents[0] == contents[1] == contents[2]
    assert open_array(tmp_path / "out" / "pixels.npy")[:, 0, 0, 0].tolist() == list(range(100))


def test_too_many_rejects_stop_the_stage(tmp_path):
    pack(tmp_path, some_files(100))
    with pytest.raises(UserError) as caught:
        decode_folder(tmp_path, workers=2, max_rejected=0.1)
    message = str(caught.value)
    assert message.startswith("20 of 120 images cannot be used, decode.max_rejected allows a share of 0.1")
    assert "  000a.png, 005a.png, 010a.png, 015a.png, 020a.png and 15 more: damaged" in message
    assert "rejected.csv" in message
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["rejected.csv"]
    assert len(read_rows(tmp_path / "out" / "rejected.csv")) == 20


def test_rejects_for_one_reason_are_one_line(tmp_path):
    pack(tmp_path, {f"{i:02}": b"" for i in range(30)} | {"a": b"no image", "b": b"no image"})
    with pytest.raises(UserError, match=r":\n  00, 01, 02, 03, 04 and 25 more: empty file\n  a, b: [^\n]*$"):
        decode_folder(tmp_path)


def test_a_long_list_of_reasons_is_cut(tmp_path):
    rejections = [(f"{i:02}", f"reason {min(i, 24)}") for i in range(30)]
    with pytest.raises(UserError) as caught:
        write_rejections(tmp_path / "rejected.csv", rejections, candidates=40, max_share=0.5)
    lines = str(caught.value).splitlines()[1:]
    assert lines[0] == "  24, 25, 26, 27, 28 and 1 more: reason 24"  # the most common one
    assert lines[1] == "  00: reason 0"
    assert lines[LISTED] == "  ... and 5 more, for 5 other reasons"
    assert len(lines) == LISTED + 1
    assert read_rows(tmp_path / "rejected.csv")[29] == {"path": "29", "reason": "reason 24"}


def test_a_share_of_rejects_may_be_met_exactly(tmp_path):
    pack(tmp_path, {f"{i:03}": b"" if i < 29 else encode(PHOTO) for i in range(100)})
    assert decode_folder(tmp_path, max_rejected=0.29) == Counts(images=71, rejected=29, other_files=0)
    with pytest.raises(UserError, match="29 of 100"):
        decode_folder(tmp_path, max_rejected=0.28)


def test_no_image_at_all(tmp_path):
    pack(tmp_path, {"labels.csv": b"x", "readme.md": b"y"})
    with pytest.raises(UserError, match=r"extracted\.csv lists 2 files and none of them can be an image"):
        decode_folder(tmp_path)
    pack(tmp_path, {"a.jpg": b""})
    with pytest.raises(UserError, match=r"1 of 1 images cannot be used.*\n  a\.jpg: empty file"):
        decode_folder(tmp_path, max_rejected=1.0)
    assert not (tmp_path / "out" / "pixels.npy").exists()


def test_a_tar_shorter_than_its_index(tmp_path):
    pack(tmp_path, {"a.png": encode(PHOTO)})
    os.truncate(tmp_path / "extracted.tar", 600)
    with pytest.raises(UserError, match=r"extracted\.tar ends before the end of a\.png; run the extract stage"):
        decode_folder(tmp_path)


def test_a_giant_member_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(members, "MAX_BYTES", 1000)
    pack(tmp_path, {"a.png": encode(PHOTO), "b.png": encode(Image.new("L", (9, 9), 7))})
    assert decode_folder(tmp_path) == Counts(images=1, rejected=1, other_files=0)
    assert read_rows(tmp_path / "out" / "rejected.csv")[0]["reason"] == "larger than 1,000 bytes"


@pytest.mark.skipif(sys.platform != "linux", reason="only forked workers see the replaced decoder")
def test_a_killed_worker_is_a_clear_error(tmp_path, monkeypatch):
    def decode_or_die(data, *how):
        if data == b"deadly":
            os.kill(os.getpid(), signal.SIGKILL)
        return decode_image(data, *how)

    monkeypatch.setattr(decode, "decode_image", decode_or_die)
    pack(tmp_path, some_files(30) | {"015b.png": b"deadly"})
    with pytest.raises(UserError, match=r"process was killed.* files from \d+[ab]?\.png to \d+[ab]?\.png"):
        decode_folder(tmp_path, workers=2)
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize(
    "change",
    [
        {"image_size": 15},
        {"image_size": 4097},
        {"image_size": 32.5},
        {"fit": "stretch"},
        {"max_rejected": 1.1},
        {"x": 1},
    ],
)
def test_params_are_checked(change):
    with pytest.raises(ValidationError):
        DecodeParams(**({"image_size": 32, "fit": "crop", "channels": "rgb", "max_rejected": 0.1} | change))


def test_the_module_is_light():
    code = "import sys, unfreeze.images.decode; print({'PIL', 'torch', 'tarfile', 'pandas'} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "set()"


def test_the_array_has_the_channels_that_were_asked_for(tmp_path):
    pack(tmp_path, {"a.png": encode(PHOTO), "b.png": encode(PHOTO.convert("L"))})
    for kind, count in (("grey", 1), ("rgba", 4)):
        params = DecodeParams(image_size=16, fit="crop", channels=kind, max_rejected=0.0)
        source = ExtractedTar(tar=tmp_path / "extracted.tar", index=tmp_path / "extracted.csv")
        out = ImageFiles.in_folder(tmp_path / kind)
        decode_tar(source, params, out, workers=1)
        assert open_array(out.pixels).shape == (2, 16, 16, count)
        assert read_json(out.card) == {"image_size": 16, "fit": "crop", "channels": kind}


@pytest.mark.parametrize(
    ("candidates", "image_size", "workers", "length"),
    [(10**6, 64, 2, 32), (16, 64, 2, 2), (1, 64, 8, 1), (40, 4096, 2, 1), (10**6, 512, 2, 10)],
)
def test_a_chunk_suits_the_memory_and_the_workers(candidates, image_size, workers, length):
    assert choose_chunk_length(candidates, image_size, workers) == length


def test_names_that_look_like_nothing_or_numbers_stay_names(tmp_path):
    names = ["01", "1e3", "NA", 'a, "b"', "nan", "None/é"]
    pack(tmp_path, dict.fromkeys(names, encode(PHOTO)))
    assert decode_folder(tmp_path) == Counts(images=6, rejected=0, other_files=0)
    assert [row["path"] for row in read_rows(tmp_path / "out" / "images.csv")] == sorted(names)
