"""dvc.yaml says what is true: the modules, params and files that each stage really uses."""

import ast
import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
ROOMS = (
    *("core", "archive", "images", "task", "labels", "model", "device", "views", "features", "train"),
    *("evaluate", "report", "commands"),
)
"""Of src/unfreeze, in their order: a room imports from those before it, and from itself."""
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
    return ROOT / stage["cmd"].split()[-1]


def room_of(file: Path) -> str:
    return file.relative_to(ROOT / "src/unfreeze").parts[0]


def needed_rooms(script: Path) -> set[str]:
    return {room_of(file) for file in closure(script) if "src" in file.parts} - {"__init__.py"}


def test_the_stages_are_the_nine_of_the_recipe():
    assert list(STAGES) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_the_rooms_among_the_deps_are_exactly_those_whose_modules_are_imported(name):
    code = [dep for dep in STAGES[name]["deps"] if dep.startswith(("src/", "stages/"))]
    script = script_of(STAGES[name])
    rooms = [f"src/unfreeze/{room}" for room in ROOMS if room in needed_rooms(script)]
    assert code == [*rooms, str(script.relative_to(ROOT))]


def test_no_stage_can_depend_on_the_package_s_own_init():
    """It is among no deps: it must hold nothing but words."""
    for init in (ROOT / "src/unfreeze").rglob("__init__.py"):
        [only] = ast.parse(init.read_text()).body
        assert isinstance(only, ast.Expr) and isinstance(only.value, ast.Constant)


@pytest.mark.parametrize("name", NAMES)
def test_a_stage_runs_the_code_of_the_folder_that_it_runs_in(name):
    assert STAGES[name]["cmd"] == f"PYTHONPATH=src python {script_of(STAGES[name]).relative_to(ROOT)}"


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


def test_the_table_of_what_runs_again_is_that_of_dvc_yaml():
    """docs/architecture.md: | `room` | what it holds | stages |."""
    text = (ROOT / "docs/architecture.md").read_text()
    table = {room: cell for room, cell in re.findall(r"^\| `(\w+)` \| .* \| (.*) \|$", text, re.M)}
    runs = {
        room: [name for name, stage in STAGES.items() if f"src/unfreeze/{room}" in stage["deps"]] for room in ROOMS
    }
    assert table == {room: ", ".join(names) or "none" for room, names in runs.items()}
    assert list(table) == list(ROOMS)


def test_imports_go_down_only():
    for file in (ROOT / "src/unfreeze").rglob("*.py"):
        room = room_of(file)
        if room not in ROOMS:  # the package itself, and its public doors
            continue
        above = {room_of(module) for module in imported(file)} - {*ROOMS[: ROOMS.index(room) + 1], "__init__.py"}
        assert not above, f"{file.relative_to(ROOT)} imports {above}"


if __name__ == "__main__":  # prints what the deps of each stage should be
    for name in NAMES:
        print(f"{name}:", *sorted(needed_rooms(script_of(STAGES[name])), key=ROOMS.index))
