"""What depends on the task is asked of the task: no other room knows which kinds there are."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS_THAT_KNOW = ("task", "report")
"""The report's sections show each kind in its own way."""
ALLOWED = {
    "src/unfreeze/labels/params.py": "the type of split.kind lists the values that params.yaml may have",
    "src/unfreeze/views/augment.py": "images, not targets, are uint8 or measured values",
}
"""Other files that say `multi`, and why."""


def files_to_check() -> list[Path]:
    modules = [
        file
        for file in (ROOT / "src/unfreeze").rglob("*.py")
        if file.relative_to(ROOT / "src/unfreeze").parts[0] not in ROOMS_THAT_KNOW
    ]
    return sorted([*modules, *(ROOT / "stages").glob("*.py")])


def words(node: ast.AST) -> list[str]:
    """The names and the texts that a node of a syntax tree stands for."""
    match node:
        case ast.Name(id=word) | ast.Attribute(attr=word) | ast.arg(arg=word) | ast.keyword(arg=word):
            return [word]
        case ast.Constant(value=str(word)):
            return [word]
        case ast.FunctionDef(name=word) | ast.ClassDef(name=word):
            return [word]
        case ast.ImportFrom(module=module, names=names):
            return [*(module or "").split("."), *(alias.name for alias in names)]
    return []


def mentions(source: str) -> list[int]:
    """The lines that ask for a kind of task by its name, its class, or the dtype of its targets."""
    lines = [
        node.lineno
        for node in ast.walk(ast.parse(source))
        for word in words(node)
        if word in ("multi", "Multi", "Single", "is_floating_point")
    ]
    return sorted(set(lines))


@pytest.mark.parametrize("file", files_to_check(), ids=lambda file: str(file.relative_to(ROOT)))
def test_only_the_tasks_and_the_report_know_the_kinds(file):
    name = str(file.relative_to(ROOT))
    lines = mentions(file.read_text(encoding="utf-8"))
    assert bool(lines) == (name in ALLOWED), f"{name}, lines {lines}: ask the task instead"


@pytest.mark.parametrize(
    "source",
    [
        "if multi: pass",
        "if table.multi: pass",
        "f(multi=True)",
        "def f(multi): pass",
        "kind == 'multi'",
        "from unfreeze.task.multi import Multi",
        "isinstance(task, Multi)",
        "if targets.is_floating_point(): pass",
    ],
)
def test_every_way_of_asking_counts(source):
    assert mentions(source) == [1]
    assert not mentions('"""Several labels (multi) an image."""\nmultiplier = "multiple"  # multi')
