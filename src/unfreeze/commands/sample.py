"""The sample that the project carries: scikit-learn's 1,797 handwritten digits as `data/raw/digits.7z`.

`unfreeze sample [FILE]` writes it, unless it is there already.
"""

import os
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from unfreeze.core.files import replacing

MODIFIED_AT = 946684800
"""The time that every file carries: the year 2000 in UTC, in seconds since 1970."""


def draw_digits() -> dict[str, np.ndarray]:
    """Return name in the archive -> image, uint8 `[8, 8]`, grey; sorted by name."""
    from sklearn.datasets import load_digits

    data = load_digits()
    pixels = np.rint(data.images * (255 / 16)).astype(np.uint8)
    named = {f"digits/{label}/{i:04}.png": pixels[i] for i, label in enumerate(data.target)}
    return dict(sorted(named.items()))


def write_digits(path: Path) -> None:
    """Write the sample: the same bytes each time with the same Pillow, zlib, liblzma and py7zr."""
    import py7zr
    from PIL import Image

    filters = [{"id": py7zr.FILTER_LZMA2, "preset": 9}]
    with (
        TemporaryDirectory() as folder,
        replacing(path) as new,
        py7zr.SevenZipFile(new, "w", filters=filters) as archive,
    ):
        for name, image in draw_digits().items():
            file = Path(folder) / Path(name).name
            Image.fromarray(image).save(file, optimize=True)
            file.chmod(0o644)
            os.utime(file, (MODIFIED_AT, MODIFIED_AT))
            archive.write(file, name)
