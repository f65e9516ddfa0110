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

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError

from unfreeze.core.console import UserError
from unfreeze.core.paths import PARAMS, PIPELINE
from unfreeze.core.yaml_files import KeyPath, Written, join_key, read_written, read_yaml

SECTIONS = {
    "seed": "unfreeze.core.params:Seed",
    "extract": "unfreeze.archive.extract:ExtractParams",
    "decode": "unfreeze.images.params:DecodeParams",
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
        loaded[name], problems = _validate(name, model, value, Written(content))
        _refuse(PARAMS, problems.values())
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
        UserError: the message lists every key that is wrong, its value and what is allowed.
    """
    written = read_written(path)
    content = written.content
    problems: dict[KeyPath, str] = {}
    params = SimpleNamespace()
    for name, target in SECTIONS.items():
        if name in content:
            section, wrong = _validate(name, _resolve(target), content[name], written)
            setattr(params, name, section)
            problems |= wrong
        else:
            problems[name,] = f"{name} is missing; add it (the params.yaml of the sample shows all sections)"
    doubtful = [problem for key, problem in written.find_double_readings() if key not in problems]
    unknown = [
        f"{name} is unknown{_closest(str(name), SECTIONS)}; sections: {', '.join(SECTIONS)}"
        for name in content
        if name not in SECTIONS and (isinstance(name, str) or not written.problems)
    ]
    _refuse(path, [*written.problems, *unknown, *problems.values(), *doubtful])
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


def _resolve(target: str) -> type:
    module, name = target.split(":")
    return getattr(importlib.import_module(module), name)


def _validate(name: str, model: type, value: object, written: Written) -> tuple[Any, dict[KeyPath, str]]:
    """Return a section as its model, and the problem of each key that is wrong."""
    try:
        return TypeAdapter(model).validate_python(value), {}
    except ValidationError as error:
        found: dict[KeyPath, list[Any]] = {}
        for each in error.errors():
            of_key = bool({"[key]", "invalid_key"} & {each["type"], *each["loc"]})
            if not of_key or not written.problems:  # which has it, with what to write
                found.setdefault(_locate(name, each, written), []).append(each)
        return None, {path: _explain(path, model, errors, written) for path, errors in found.items()}


def _locate(section: str, error: Any, written: Written) -> KeyPath:
    """Return where an error is. pydantic appends the branch of a union to the location, and what is missing."""
    location = (section, *error["loc"])
    return location if error["type"] == "missing" else written.locate(location)


def _explain(path: KeyPath, model: type, errors: list[Any], written: Written) -> str:
    """Return the problem of one key. Each branch of a union gives an error."""
    key, first = join_key(path), errors[0]
    if key in RENAMED and first["type"] == "extra_forbidden":
        return f"{key} is called {RENAMED[key]} now: rename the key"
    if first["type"] == "missing":
        return f"{key} is missing"
    known = list(getattr(model, "model_fields", {}))
    if first["type"] == "model_type":
        return f"{key} = {first['input']!r}: must hold keys: {', '.join(known)}"
    if first["type"] == "extra_forbidden":
        return (
            f"{key} = {first['input']!r} is unknown{_closest(str(path[-1]), known)}; {path[0]} takes: "
            f"{', '.join(known)}"
        )
    messages = [error["msg"].removeprefix("Value error, ").removeprefix("Input ") for error in errors]
    return f"{key} = {first['input']!r}: {', or '.join(dict.fromkeys(messages))}{_hint(path, errors, written)}"


def _hint(path: KeyPath, errors: list[Any], written: Written) -> str:
    """Return what to write in place of what YAML reads otherwise than it was meant, or ""."""
    types, value = {error["type"] for error in errors}, errors[-1]["input"]
    if reads := written.explain_kind(path):
        text, allowed = written.nodes[path].value, [error.get("ctx", {}).get("expected", "") for error in errors]
        if "string_type" in types or any(f"'{text}'" in each for each in allowed):
            return f"; {reads}: write {written.spell(path)}"
        if "literal_error" in types and isinstance(value, bool):
            return f" ({reads})"
    if "int_type" in types and (number := _parse_whole(value)) is not None:
        return f"; write {number}"
    return ""


def _parse_whole(value: object) -> int | None:
    """Return the whole number that a user may have meant by 1e3, 08 or 2.0; else None."""
    if isinstance(value, str) and re.fullmatch(r"0[oO][0-7]+", value):  # YAML 1.2
        return int(value, 8)
    try:
        return int(number) if not isinstance(value, bool) and (number := float(value)).is_integer() else None
    except (TypeError, ValueError, OverflowError):
        return None


def _closest(name: str, known: Any) -> str:
    match = get_close_matches(name, list(known), n=1)
    return f" (did you mean {match[0]}?)" if match else ""
