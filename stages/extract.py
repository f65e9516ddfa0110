"""extract.source -> data/extracted.tar: one seekable file with an index, and its tables beside it."""

import os
from pathlib import Path

from unfreeze.archive.extract import Destination, ExtractParams, extract
from unfreeze.core import paths
from unfreeze.core.console import run
from unfreeze.core.params import load


def main() -> str:
    # 1. Read the settings.
    params = load("extract", extract=ExtractParams).extract
    password = os.environ.get("UNFREEZE_ARCHIVE_PASSWORD") or None

    # 2. Unpack the archives into one tar.
    summary = extract(
        source=Path(params.source),
        destination=Destination(tar=paths.EXTRACTED_TAR, index=paths.EXTRACTED_CSV, tables=paths.TABLES),
        max_bytes=params.max_bytes,
        password=password,
        options=params.read_options(),
    )

    # 3. Say what came out.
    return str(summary)


if __name__ == "__main__":
    run("extract", main)
