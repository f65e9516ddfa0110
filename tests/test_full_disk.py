"""What stages do on a full disk: they refuse before long work where they can, and leave nothing half-made."""

import errno
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from image_files import encode, pack
from made_archives import make_7z, make_tar, make_zip
from PIL import Image
from small_disk import mount_small_disk

from unfreeze.archive.extract import Destination, extract
from unfreeze.core import files
from unfreeze.core.console import UserError
from unfreeze.features.params import PrecomputeParams
from unfreeze.features.write import write_features
from unfreeze.images.decode import DecodeParams, decode_tar
from unfreeze.images.members import ExtractedTar
from unfreeze.images.outs import ImageFiles
from unfreeze.model.backbones.base import Backbone
from unfreeze.model.network import Network
from unfreeze.views.images import Images

LARGE = np.random.default_rng(0).bytes(2 * 10**6)


@pytest.fixture
def disk(tmp_path) -> Iterator[Path]:
    with mount_small_disk(tmp_path / "disk") as disk:
        yield disk


@pytest.fixture
def unknown_space(monkeypatch) -> None:
    """The system does not tell how much is free, as some network file systems."""
    monkeypatch.setattr(files, "measure_free_space", lambda path: None)


def extract_to(disk: Path, source: Path) -> None:
    extract(source, Destination(tar=disk / "a.tar", index=disk / "a.csv", tables=disk / "tables"), 10**9)


@pytest.mark.parametrize("make", [make_zip, make_7z])
def test_an_archive_that_tells_its_size_is_refused_at_once(disk, tmp_path, make):
    source = make(tmp_path / "archive", {"1.png": LARGE})
    with pytest.raises(UserError) as caught:
        extract_to(disk, source)
    message = str(caught.value)
    assert "2.0 MB" in message and f"{disk}/a.tar" in message and "1.0 MB are free" in message
    assert not list(disk.iterdir())


def test_an_archive_that_does_not_is_refused_where_the_disk_is_full(disk, tmp_path):
    (disk / "a.csv").write_text("old")
    with pytest.raises(UserError) as caught:
        extract_to(disk, make_tar(tmp_path / "a.tar", {"1.png": LARGE}))
    message = str(caught.value)
    assert f"{disk}/a.tar does not fit" in message and "MB are free" in message and "\n" not in message
    assert [path.name for path in disk.iterdir()] == ["a.csv"]


def decode_to(disk: Path, folder: Path, workers: int) -> None:
    """Decode 100 images of 12 KB."""
    if not (folder / "extracted.tar").exists():
        image = encode(Image.new("RGB", (20, 20), "red"))
        pack(folder, {f"{i:03}.png": image for i in range(100)})
    decode_tar(
        source=ExtractedTar(tar=folder / "extracted.tar", index=folder / "extracted.csv"),
        params=DecodeParams(image_size=64, fit="crop", channels="rgb", max_rejected=0.0),
        out=ImageFiles.in_folder(disk / "out"),
        workers=workers,
    )


def test_images_that_do_not_fit_are_refused_before_they_are_decoded(disk, tmp_path):
    with pytest.raises(UserError) as caught:
        decode_to(disk, tmp_path, workers=1)
    message = str(caught.value)
    assert "1.2 MB" in message and f"{disk}/out/pixels.npy" in message and "1.0 MB are free" in message
    assert not list(disk.iterdir())


@pytest.mark.parametrize("workers", [1, 2])
def test_images_that_turn_out_not_to_fit_leave_nothing(disk, tmp_path, unknown_space, workers):
    with pytest.raises(OSError) as caught:
        decode_to(disk, tmp_path, workers)
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(disk / "out/pixels.npy"))
    assert not list((disk / "out").iterdir())


def write_features_to(disk: Path, fabric) -> None:
    """Write features of 1.2 MB."""
    still = torch.nn.Identity()
    network = Network(Backbone(still, still, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)), still)
    images = Images(np.zeros((50_000, 1, 1, 3), np.uint8), 1, torch.device("cpu"))
    params = PrecomputeParams(set="none", max_zoom=1.0, pad=0, skip=False, views=0)
    write_features(disk / "features", fabric, network, images, params, 1)


def test_features_that_do_not_fit_are_refused_and_the_old_ones_stay(disk, fabric):
    (disk / "features").mkdir()
    (disk / "features/plain.npy").write_bytes(b"old")
    with pytest.raises(UserError) as caught:
        write_features_to(disk, fabric)
    assert "1.2 MB" in str(caught.value) and f"{disk}/features" in str(caught.value)
    assert [path.name for path in disk.rglob("*")] == ["features", "plain.npy"]


def test_features_that_turn_out_not_to_fit_leave_the_old_ones(disk, fabric, unknown_space):
    (disk / "features").mkdir()
    (disk / "features/plain.npy").write_bytes(b"old")
    with pytest.raises(OSError) as caught:
        write_features_to(disk, fabric)
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(disk / "features/plain.npy"))
    assert (disk / "features/plain.npy").read_bytes() == b"old"
    assert [path.name for path in disk.rglob("*")] == ["features", "plain.npy"]
