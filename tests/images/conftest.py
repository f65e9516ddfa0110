"""What the tests of this room share."""

import os
from pathlib import Path

import pytest


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
