"""Reads params.yaml: the whole file is checked before a stage works, and a stage gets only what it declared.

The model of each section stands beside the code that it drives. `SECTIONS` names the models as text, and they are
imported only to check the file, so that no stage depends on the modules of the others.
"""

import importlib
import re
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError

from unfreeze.core.console import UserError
from unfreeze.core.paths import PARAMS, PIPELINE

SECTIONS = {
    "seed": "unfreeze.core.params:Seed",
    "extract": "unfreeze.archive.extract:ExtractParams",
    "decode": "unfreeze.images.decode:DecodeParams",
    "split": "unfreeze.labels.params:SplitParams",
    "model": "unfreeze.model.backbone:ModelParams",
    "head": "unfreeze.model.head:HeadParams",
    "precompute": "unfreeze.features.params:PrecomputeParams",
    "augment": "unfreeze.views.augment:AugmentParams",
    "find_lr": "unfreeze.train.lr_finder:FindLrParams",
    "train_head": "unfreeze.train.schedule:TrainHeadParams",
    "finetune": "unfreeze.train.schedule:FinetuneParams",
    "tta": "unfreeze.evaluate.tta:TtaParams",
    "submission": "unfreeze.evaluate.submission:SubmissionParams",
    "report": "unfreeze.report.galleries:ReportParams",
    "verify": "unfreeze.commands.verify:VerifyParams",
    "runtime": "unfreeze.device.runtime:AllRuntimeParams",
}

RENAMED = {"decode.size": "decode.image_size", "model.size": "model.image_size"}
"""Keys of older params files -> their names now."""


def _parse_exponent(value: object) -> object:
    """Convert text such as `1e-3` to a number: to YAML 1.1 it is text, and to DVC a number."""
    if isinstance(value, str) and re.fullmatch(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+", value):
        return float(value)
    return value


Number = Annotated[float, BeforeValidator(_parse_exponent)]
"""The type of every param that is a real number."""


class Section(BaseModel):
    """Base of every section: unknown keys, missing keys and wrong types are errors, and there are no defaults."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)

    def check_with(self, params: SimpleNamespace) -> Iterator[str]:
        """Yield "key.path = value: what is wrong" of each way in which this section does not fit the others."""
        yield from ()


Seed = Annotated[int, Field(strict=True, ge=0, lt=2**63)]
"""The type of `seed`: everything random derives from it."""


def load(stage: str, **sections: type) -> SimpleNamespace:
    """Return the params that `stage` declared in dvc.yaml, each section as its model.

    `load("split", split=SplitParams, seed=Seed).split.valid`. The whole of params.yaml is checked first. Of a
    section that is declared key by key (`train_head.batch_size`), the model gets these keys alone.

    Raises:
        UserError: the message names the key, its value and what is allowed.
    """
    content = check(PARAMS)
    declared = read_yaml(PIPELINE)["stages"][stage].get("params", [])
    loaded = {}
    for name, model in sections.items():
        keys = {path.split(".", 1)[1] for path in declared if path.startswith(f"{name}.")}
        if name not in declared and not keys:
            raise UserError(f"{PIPELINE}: stage {stage} reads `{name}` but does not declare it under params")
        value = content[name] if name in declared else {k: v for k, v in content[name].items() if k in keys}
        loaded[name] = _validate(name, model, value)
    return SimpleNamespace(**loaded)


def declared_params(stage: str, content: dict[str, Any]) -> dict[str, Any]:
    """Return the values that `stage` declared in dvc.yaml, by path: {"seed": 1, "train_head.lr": 0.01}."""
    values = {}
    for path in read_yaml(PIPELINE)["stages"][stage].get("params", []):
        value: Any = content
        for part in path.split("."):
            value = value[part]
        values[path] = value
    return values


def check(path: Path) -> dict[str, Any]:
    """Check every section of a params file, alone and against the others; return the file's plain content.

    Raises:
        UserError: the message names the key, its value and what is allowed.
    """
    content = read_yaml(path)
    for name in content.keys() - SECTIONS.keys():
        raise UserError(f"{path}: {name} is unknown{_closest(name, SECTIONS)}; sections: {', '.join(SECTIONS)}")
    for name in SECTIONS:
        if name not in content:
            raise UserError(
                f"{path}: {name} is missing; add it (the params.yaml of the sample shows all sections)"
            )
    params = SimpleNamespace(
        **{name: _validate(name, _resolve(target), content[name]) for name, target in SECTIONS.items()}
    )
    sections = [section for section in vars(params).values() if isinstance(section, Section)]
    _refuse(path, [problem for section in sections for problem in section.check_with(params)])
    return content


def _refuse(path: Path, problems: Iterable[str]) -> None:
    """Raise UserError if there are problems: with one in its line, with several as a list, each once."""
    problems = list(dict.fromkeys(problems))
    if len(problems) == 1:
        raise UserError(f"{path}: {problems[0]}")
    if problems:
        raise UserError(f"{path}: {len(problems)} problems" + "".join(f"\n  {each}" for each in problems))


def read_yaml(path: Path) -> dict[str, Any]:
    """Return the mapping in a YAML file.

    Raises:
        UserError: the file is missing, is no YAML, or holds no mapping.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path} is not here: run from the project's root") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read: {error}") from None
    if not isinstance(content, dict):
        raise UserError(f"{path} must hold sections such as `extract:`, not {type(content).__name__}")
    return content


def _resolve(target: str) -> type:
    module, name = target.split(":")
    return getattr(importlib.import_module(module), name)


def _validate(name: str, model: type, value: object) -> Any:
    try:
        return TypeAdapter(model).validate_python(value)
    except ValidationError as error:
        raise UserError(f"{PARAMS}: " + "; ".join(_explain(name, model, e) for e in error.errors())) from None


def _explain(section: str, model: type, error: Any) -> str:
    known = list(getattr(model, "model_fields", {}))
    # pydantic appends the branch of a union to the location. Only field names and list positions are keys.
    path = [str(part) for i, part in enumerate(error["loc"]) if i == 0 or isinstance(part, int)]
    key = ".".join([section, *path])
    if key in RENAMED:
        return f"{key} is called {RENAMED[key]} now: rename the key"
    if error["type"] == "extra_forbidden":
        last = str(error["loc"][-1])
        return f"{key} = {error['input']!r} is unknown{_closest(last, known)}; {section} takes: {', '.join(known)}"
    if error["type"] == "missing":
        return f"{key} is missing"
    message = error["msg"].removeprefix("Value error, ").removeprefix("Input ")
    return f"{key} = {error['input']!r}: {message}"


def _closest(name: str, known: Any) -> str:
    match = get_close_matches(name, list(known), n=1)
    return f" (did you mean {match[0]}?)" if match else ""
