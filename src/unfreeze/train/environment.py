"""The machine that trained a model: `results/environment.json`, which git has and DVC does not track.

The file changes only with the model: another machine that trains the same bytes leaves it alone.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from unfreeze.core import files

MODEL_HASH = "model_md5"
"""The key beside the facts: which model they are of, by the hash that dvc.lock has for it."""


def record_environment(path: Path, facts: Mapping[str, Any], model: Path) -> None:
    """Write `facts` (of `runtime.describe_environment`) to `path`, unless it has some of this `model` already."""
    with model.open("rb") as file:
        md5 = hashlib.file_digest(file, "md5").hexdigest()
    if read_environment(path, md5) is None:
        files.write_json(path, {**facts, MODEL_HASH: md5})


def read_environment(path: Path, model_md5: str) -> dict[str, Any] | None:
    """Read the facts about the model with this hash; None if the file is missing, damaged or of another model."""
    try:
        facts = files.read_json(path)
    except (FileNotFoundError, ValueError):  # an edit or a merge may have left no JSON
        return None
    return facts if isinstance(facts, dict) and facts.get(MODEL_HASH) == model_md5 else None
