"""Unpack the archive of images into one plain tar with an index."""

import os
from pathlib import Path

from unfreeze.console import run
from unfreeze.data.archive import ExtractParams, extract
from unfreeze.params import load
from unfreeze.paths import EXTRACTED_CSV, EXTRACTED_TAR


def main() -> str:
    params = load("extract", extract=ExtractParams).extract
    password = os.environ.get("UNFREEZE_ARCHIVE_PASSWORD") or None
    return str(extract(Path(params.source), EXTRACTED_TAR, EXTRACTED_CSV, params.max_bytes, password))


if __name__ == "__main__":
    run("extract", main)
