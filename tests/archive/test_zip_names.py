"""Names in zips are read by the strongest evidence that is there, and a guess is said."""

import struct
import subprocess
import zipfile
import zlib
from pathlib import Path

import pytest
from made_archives import CAT, DOG
from pydantic import ValidationError

from unfreeze.archive.extract import ExtractParams
from unfreeze.core.console import UserError


def make_raw_zip(path: Path, names: list[bytes], flag: bool = False, extras: dict[int, bytes] | None = None) -> Path:
    """Write a zip with these bytes as names. `extras`: number of a member -> its extra field."""
    with zipfile.ZipFile(path, "w") as archive:
        for number, name in enumerate(names):
            info = zipfile.ZipInfo(name.decode("cp437"))
            info.filename = "".join(map(chr, range(0x4E00, 0x4E00 + len(name)))) if not name.isascii() else info.filename
            info.extra = (extras or {}).get(number, b"")
            archive.writestr(info, CAT if number % 2 == 0 else DOG)
    return path
