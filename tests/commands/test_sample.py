"""The committed sample holds scikit-learn's digits and can be written again."""

import io
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from unfreeze.archive.extract import Destination, extract
from unfreeze.commands.app import SAMPLE
from unfreeze.commands.sample import draw_digits, write_digits

COMMITTED = Path(__file__).parents[2] / SAMPLE


def images_in(archive: Path, folder: Path) -> dict[str, np.ndarray]:
    extract(archive, Destination(folder / "a.tar", folder / "a.csv"), 10**7)
    with tarfile.open(folder / "a.tar", "r:") as tar:
        return {m.name: np.asarray(Image.open(io.BytesIO(tar.extractfile(m).read()))) for m in tar}


def test_the_committed_archive_holds_exactly_the_digits(tmp_path):
    found, expected = images_in(COMMITTED, tmp_path), draw_digits()
    assert found.keys() == expected.keys()
    assert all(np.array_equal(found[name], image) for name, image in expected.items())
    assert COMMITTED.stat().st_size < 400_000


def test_digits_are_scikit_learns():
    data, images = load_digits(), draw_digits()
    assert len(images) == 1797
    for i, label in enumerate(data.target):
        image = images[f"digits/{label}/{i:04}.png"]
        assert image.dtype == np.uint8
        assert np.array_equal(np.rint(image * (16 / 255)), data.images[i])
    assert (min(map(np.min, images.values())), max(map(np.max, images.values()))) == (0, 255)


def test_two_writes_are_equal_in_bytes(tmp_path):
    for name in ("a.7z", "b.7z"):
        write_digits(tmp_path / name)
    assert (tmp_path / "a.7z").read_bytes() == (tmp_path / "b.7z").read_bytes()


@pytest.mark.parametrize("content", [b"mine"])
def test_a_file_that_is_there_stays(content, tmp_path):
    (tmp_path / "a.7z").write_bytes(content)
    command = [sys.executable, "-m", "unfreeze.commands.app", "sample", str(tmp_path / "a.7z")]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert "is there already" in done.stdout
    assert (tmp_path / "a.7z").read_bytes() == content
