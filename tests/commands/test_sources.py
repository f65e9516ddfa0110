"""Which files a named source holds."""

import json
import os
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import py7zr
import pytest
from made_up_network import NAMES, call, values

from unfreeze.commands import sources


@pytest.mark.parametrize("kind", ["zip", "7z"])
def test_archives(classifier, photos, tmp_path, kind):
    archive = tmp_path / f"some.{kind}"
    with zipfile.ZipFile(archive, "w") if kind == "zip" else py7zr.SevenZipFile(archive, "w") as file:
        for path in photos.rglob("*.*"):
            file.write(path, str(path.relative_to(photos)))
    before = set(Path(tempfile.gettempdir()).glob("unfreeze-*"))
    found = list(classifier.predict([archive, photos]))
    assert [p.path for p in found[:3]] == [f"{archive}/{name}" for name in NAMES]
    for inside, outside in zip(found[:3], found[3:], strict=True):
        np.testing.assert_allclose(values(inside), values(outside), atol=1e-6)
    assert set(Path(tempfile.gettempdir()).glob("unfreeze-*")) == before
    renamed = archive.rename(tmp_path / "download")
    assert [p.path for p in classifier.predict(renamed)] == [f"{renamed}/{name}" for name in NAMES]


def test_archives_that_cannot_be_read_are_one_error(classifier, photos, tmp_path, monkeypatch):
    empty, damaged, bomb = (tmp_path / f"{name}.zip" for name in ("empty", "damaged", "bomb"))
    with zipfile.ZipFile(empty, "w") as file:
        file.writestr("readme.txt", "no image")
    damaged.write_bytes(b"PK\x03\x04 and nothing more")
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("x.bmp", bytes(10**6))
    usage = sources.shutil.disk_usage(tmp_path)._replace(free=10**5)
    monkeypatch.setattr(sources.shutil, "disk_usage", lambda folder: usage)
    found = list(classifier.predict([empty, damaged, bomb, photos / "a.png"]))
    assert [p.path for p in found] == [str(path) for path in (empty, damaged, bomb, photos / "a.png")]
    assert found[0].error == "no image in this archive"
    assert found[1].error.startswith("is damaged")
    assert "the free space in" in found[2].error and "TMPDIR" in found[2].error
    assert not found[3].error and found[0].predicted == ""


def test_links_loops_pipes_and_odd_names_in_folders(classifier, photos, capsys, model):
    (photos / "b.set/loop").symlink_to(photos)
    (photos / "link").symlink_to(photos / "b.set")
    (photos / "nothing.png").symlink_to(photos / "gone.png")
    os.mkfifo(photos / "pipe.png")
    found = [p.path.removeprefix(f"{photos}/") for p in classifier.predict(photos)]
    assert found == ["a.png", "b.set/c.png", "link/c.png", "nothing.png", "z.png"]
    odd = photos / "odd\n\x1b[2J\udc80.png"
    odd.write_bytes((photos / "a.png").read_bytes())
    _, out, err = call(capsys, model, odd)
    assert r"odd\n\x1b[2J\udc80.png" in out and "\x1b" not in out + err
    _, out, _ = call(capsys, model, odd, "--json")
    assert json.loads(out)["path"] == str(odd)


def test_a_giant_is_not_read(classifier, photos, monkeypatch):
    monkeypatch.setattr(sources, "MAX_BYTES", 100)
    assert next(classifier.predict(photos / "a.png")).error == "larger than 100 bytes"
