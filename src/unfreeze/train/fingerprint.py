"""All that the result of a stage depends on, in one hash: what dvc.yaml declares of it."""

import hashlib
import json
import os
from pathlib import Path

from unfreeze.core.params import declared_params, read_yaml
from unfreeze.core.paths import LOCK, PARAMS, PIPELINE

READ_ANYWAY = 2**28
"""Bytes. What is smaller is read, which takes less than a second: `dvc repro --single-item` runs a stage on outs
that somebody made by hand, while dvc.lock still has the hashes of the old ones."""


def fingerprint(stage: str) -> str:
    """Return the hash of the content of a stage's deps and of its params: 16 hexadecimal digits.

    Code and weights are read. Of large outs of earlier stages the hash that DVC wrote down is taken
    (`_recorded_hashes`).
    """
    declared = read_yaml(PIPELINE)["stages"][stage]["deps"]
    digest, recorded = hashlib.sha256(), _recorded_hashes()
    for dep in sorted(declared):
        digest.update(f"{dep}\0{recorded.get(dep) or _hash_content(Path(dep))}\0".encode())
    digest.update(json.dumps(declared_params(stage, read_yaml(PARAMS)), sort_keys=True).encode())
    return digest.hexdigest()[:16]


def _recorded_hashes() -> dict[str, str]:
    """Return by path DVC's hashes of the large outs that are here as dvc.lock records them.

    DVC writes them down after each stage, so that nobody reads the outs again: a million images have 196 GB. An
    out of another size was made by hand since. So was one that is newer than dvc.lock, unless DVC runs the stage:
    it may have checked the out out after git brought dvc.lock.
    """
    if not LOCK.is_file():
        return {}
    written, by_dvc = LOCK.stat().st_mtime_ns, "DVC_STAGE" in os.environ
    hashes = {}
    for stage in (read_yaml(LOCK).get("stages") or {}).values():
        for out in stage.get("outs", []):
            status = [file.stat() for file in _list_files(Path(out["path"]))]
            size = sum(each.st_size for each in status)
            if not status or size < READ_ANYWAY or size != out.get("size") or "md5" not in out:
                continue
            if by_dvc or max(each.st_mtime_ns for each in status) <= written:
                hashes[out["path"]] = out["md5"]
    return hashes


def _hash_content(path: Path) -> str:
    """Return the hash of a file, or of all files of a folder and their names."""
    digest = hashlib.sha256()
    for file in _list_files(path):
        if file.suffix != ".pyc":
            with file.open("rb") as content:
                digest.update(f"{file}\0{hashlib.file_digest(content, 'sha256').hexdigest()}\0".encode())
    return digest.hexdigest()


def _list_files(path: Path) -> list[Path]:
    """Return all files of a folder, or the file itself; none if it is missing."""
    if not path.is_dir():
        return [path] if path.is_file() else []
    return sorted(file for file in path.rglob("*") if file.is_file())
