"""Speed has one door: outside of model/ nothing but `for_inference` is imported from model/fast/."""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[2]
FAST, DOOR = "unfreeze.model.fast", ("unfreeze.model.fast.inference", "for_inference")


def fast_imports(source: str) -> set[tuple[str, str | None]]:
    """What Python `source` imports from model/fast/: (module, name), or (module, None) for a whole module."""
    imports = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            imports |= {(alias.name, None) for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imports |= {(node.module or "", alias.name) for alias in node.names}
    return {(module, name) for module, name in imports if f"{module}.{name}.".startswith(f"{FAST}.")}


def test_an_import_of_a_kernel_is_noticed():
    lines = {
        "from unfreeze.model.fast import winograd": (FAST, "winograd"),
        "from unfreeze.model import fast": ("unfreeze.model", "fast"),
        "from unfreeze.model.fast.dropout import Dropout": (f"{FAST}.dropout", "Dropout"),
        "import unfreeze.model.fast.winograd as w": (f"{FAST}.winograd", None),
    }
    for line, expected in lines.items():
        assert fast_imports(line) == {expected}


def test_outside_of_model_only_the_door_is_imported():
    model = ROOT / "src/unfreeze/model"
    files = [file for folder in ("src", "stages", "benchmarks") for file in (ROOT / folder).rglob("*.py")]
    imports = {file: fast_imports(file.read_text()) for file in files if model not in file.parents}
    assert any(imports.values())
    assert {file: names - {DOOR} for file, names in imports.items() if names - {DOOR}} == {}
