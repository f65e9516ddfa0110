"""dvc.yaml says what is true: the modules, params and files that each stage really uses."""

import ast
import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
PAGE_FILES = ("page.css", "page.html.j2", "page.js", "viewer.js")
"""What the report's page.py reads beside modules."""
NAMES = [
    "extract",
    "decode",
    "split",
    "precompute-features",
    "find-lr",
    "train-head",
    "unfreeze-finetune",
    "tta-evaluate",
    "report",
]


def imported(file: Path) -> set[Path]:
    """Files of the package that `file` imports, at its top or inside functions, packages' __init__ included."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            modules = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        for module in modules:
            parts = module.split(".")
            if parts[0] != "unfreeze":
                continue
            for end in range(1, len(parts) + 1):
                path = ROOT.joinpath("src", *parts[:end])
                found |= {p for p in (path.with_suffix(".py"), path / "__init__.py") if p.is_file()}
    return found


def closure(script: Path) -> set[Path]:
    """`script` and every file of the package that it imports, directly or not."""
    seen, queue = set(), [script]
    while queue:
        file = queue.pop()
        if file not in seen:
            seen.add(file)
            queue += imported(file)
    return seen


def script_of(stage: dict) -> Path:
    return ROOT / stage["cmd"].removeprefix("python ")


def test_the_stages_are_the_nine_of_the_recipe():
    assert list(STAGES) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_deps_are_exactly_the_imported_modules(name):
    stage = STAGES[name]
    declared = {dep for dep in stage["deps"] if dep.endswith((".py", *PAGE_FILES))}
    needed = {str(file.relative_to(ROOT)) for file in closure(script_of(stage))}
    if "src/unfreeze/report/page.py" in needed:
        needed |= {f"src/unfreeze/report/{name}" for name in PAGE_FILES}
    assert declared == needed


@pytest.mark.parametrize("name", NAMES)
def test_params_are_exactly_what_the_script_loads(name):
    script = script_of(STAGES[name]).read_text()
    call = re.search(r"load\(\s*(\"[\w-]+\".*?)\)", script, re.S).group(1)
    assert call.startswith(f'"{name}"')
    sections = set(re.findall(r"(\w+)=", call))
    assert sections == {key.split(".")[0] for key in STAGES[name]["params"]}


@pytest.mark.parametrize("name", NAMES)
def test_data_deps_are_outs_of_earlier_stages(name):
    made = set()
    for earlier in NAMES[: NAMES.index(name)]:
        made |= set(outs(STAGES[earlier]))
    data = {dep for dep in STAGES[name]["deps"] if dep.startswith(("data/", "models/", "results/"))}
    assert data <= made


def outs(stage: dict) -> list[str]:
    entries = stage.get("outs", []) + stage.get("metrics", [])
    return [entry if isinstance(entry, str) else next(iter(entry)) for entry in entries]


def test_nothing_switches_the_run_cache_off():
    for stage in STAGES.values():
        for entry in stage.get("outs", []):
            options = entry if isinstance(entry, dict) else {}
            assert not any(o.get("persist") or o.get("cache") is False for o in options.values())


@pytest.mark.parametrize("name", NAMES)
def test_no_whole_section_has_a_key_that_dvc_s_run_cache_overlooks(name):
    """DVC hashes params without keys named `size` and `nfiles`, at any depth: declare such keys by their path."""
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    for key in STAGES[name]["params"]:
        section = params.get(key)
        assert not isinstance(section, dict) or not {"size", "nfiles"} & section.keys(), key


def test_imports_go_down_only():
    order = ["params", "data", "model", "train", "evaluate", "report"]
    allowed = {
        "data": {"data"},
        "model": {"model"},
        "train": {"train", "model", "data"},
        "evaluate": {"evaluate", "train", "model", "data"},
        "report": {"report", "evaluate", "data"},
    }
    for room, below in allowed.items():
        for file in (ROOT / "src/unfreeze" / room).glob("*.py"):
            rooms = {p.parent.name for p in imported(file)} & set(order)
            assert rooms <= below, f"{file.name} imports {rooms - below}"


def test_stage_scripts_are_short():
    for script in (ROOT / "stages").glob("*.py"):
        assert len(script.read_text().splitlines()) <= 65, script.name


if __name__ == "__main__":  # prints what the deps of each stage should be
    for name in NAMES:
        print(
            f"{name}:",
            *sorted(str(f.relative_to(ROOT)) for f in closure(script_of(STAGES[name]))),
            sep="\n  - ",
        )
