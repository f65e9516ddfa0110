"""YAML files, and a params file with its own spelling beside what YAML made of it.

PyYAML reads YAML 1.1, and DVC reads the same file as YAML 1.2: `yes` is a boolean to the first and text to the
second, `010` is 8 and 10, `1:30` is 90 and text. PyYAML also takes the last of two equal keys without a word.
"""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from unfreeze.core.console import UserError

KeyPath = tuple[str | int, ...]
"""Of a value in a file: keys, and positions in lists."""

TEXT = "tag:yaml.org,2002:str"
KINDS = {"bool": "a boolean", "int": "a number", "float": "a number", "timestamp": "a date", "null": "nothing"}
"""What YAML makes of text without quotes, by the ends of its tags."""


@dataclass(frozen=True)
class Written:
    """A params file as it is written."""

    content: dict[str, Any]
    nodes: dict[KeyPath, yaml.Node] = field(default_factory=dict)
    """Of each value where it is written; none of those that an alias or a merge key brings."""
    problems: list[str] = field(default_factory=list)
    """Keys that stand twice or are no text."""

    def locate(self, parts: tuple[str | int, ...]) -> KeyPath:
        """Return the longest start of `parts` that leads to a value in the file."""
        value: Any = self.content
        for i, part in enumerate(parts):
            inside = isinstance(value, list) and isinstance(part, int) and part < len(value)
            if not inside and not (isinstance(value, dict) and part in value):
                return parts[:i]
            value = value[part]
        return parts

    def explain_kind(self, path: KeyPath) -> str:
        """Return what YAML made of a scalar without quotes, such as "YAML reads yes as a boolean", or ""."""
        node = self.nodes.get(path)
        kind = KINDS.get(node.tag.rpartition(":")[2]) if isinstance(node, yaml.ScalarNode) else None
        return f"YAML reads {node.value} as {kind}" if kind and node.value else ""

    def spell(self, path: KeyPath) -> str:
        """Return the line to write for the text that stands there without quotes: `label_column: "yes"`."""
        node = self.nodes[path]
        if isinstance(path[-1], str):
            line = f"{path[-1]}: {_quote(node)}"
        else:
            line = f"{path[-2]}: [{', '.join(map(_quote, self.nodes[path[:-1]].value))}]"
        # DVC writes the file again, and leaves out quotes that YAML 1.2 does without.
        kept = f" (or !!str {node.value}, which `dvc exp run -S` keeps)" if _is_text_to_dvc(node) else ""
        return line + kept

    def find_double_readings(self) -> Iterator[tuple[KeyPath, str]]:
        """Yield path and problem of each number that YAML 1.1 and 1.2 read as two."""
        for path, node in self.nodes.items():
            if isinstance(node, yaml.ScalarNode) and (other := _read_by_dvc(node)) is not None:
                value, text = yaml.safe_load(node.value), isinstance(other, str)
                reads = f"YAML 1.1 reads {value}, DVC reads {'the text ' * text}{other}"
                yield path, f"{join_key(path)} = {node.value}: {reads}: write {value}{f' or {other}' * (not text)}"


def join_key(path: KeyPath) -> str:
    """Return a path as messages have it: split.numbers.0."""
    return ".".join(map(str, path))


def read_yaml(path: Path) -> dict[str, Any]:
    """Return the mapping in a YAML file.

    Raises:
        UserError: the file is missing, is no YAML, or holds no mapping.
    """
    return _read(path, yaml.safe_load)


def read_written(path: Path) -> Written:
    """Return the mapping in a YAML file, and how it is written.

    Raises:
        UserError: as of `read_yaml`.
    """
    nodes: dict[KeyPath, yaml.Node] = {}
    problems: list[str] = []

    def parse(text: str) -> Any:
        loader = yaml.SafeLoader(text)
        if (root := loader.get_single_node()) is None:
            return None
        problems.extend(_walk(root, (), nodes, set()))
        return loader.construct_document(root)

    return Written(_read(path, parse), nodes, problems)


def _read(path: Path, parse: Callable[[str], Any]) -> dict[str, Any]:
    try:
        content = parse(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path} is not here: run from the project's root") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UserError(f"{path} cannot be read: {error}") from None
    if not isinstance(content, dict):
        raise UserError(f"{path} must hold sections such as `extract:`, not {type(content).__name__}")
    return content


def _walk(node: yaml.Node, path: KeyPath, nodes: dict[KeyPath, yaml.Node], seen: set[int]) -> Iterator[str]:
    """Note `node` and all below it in `nodes`, each once; yield problems."""
    if id(node) in seen:  # an alias
        return
    seen.add(id(node))
    nodes[path] = node
    if isinstance(node, yaml.ScalarNode):
        try:
            yaml.SafeLoader("").construct_object(node)
        except ValueError as error:
            node.tag = TEXT  # so that what else is wrong in the file can be told too
            yield f'{join_key(path)} = {node.value}: {error}; write "{node.value}" if a text is meant'
    elif isinstance(node, yaml.SequenceNode):
        for i, item in enumerate(node.value):
            yield from _walk(item, (*path, i), nodes, seen)
    elif isinstance(node, yaml.MappingNode):
        lines: dict[str, list[int]] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue  # to PyYAML an error
            lines.setdefault(key.value, []).append(key.start_mark.line + 1)
            if kind := KINDS.get(key.tag.rpartition(":")[2]):
                name = join_key((*path, key.value))
                yield f'{name}: YAML reads the key {key.value} as {kind}; write "{key.value}": {_show(value)}'
            yield from _walk(value, (*path, key.value), nodes, seen)
        for name, places in lines.items():
            if len(places) > 1:
                stands = f"{', '.join(map(str, places[:-1]))} and {places[-1]}"
                yield f"{join_key((*path, name))} stands in lines {stands}: keep one of them"


def _show(node: yaml.Node) -> str:
    """Return a scalar as it is written."""
    if not isinstance(node, yaml.ScalarNode):
        return "..."
    return node.value if node.style is None else json.dumps(node.value, ensure_ascii=False)


def _quote(node: yaml.Node) -> str:
    """Return a scalar as it is to be written where a text is meant."""
    plain = not isinstance(node, yaml.ScalarNode) or node.tag == TEXT
    return _show(node) if plain else json.dumps(node.value, ensure_ascii=False)


def _read_by_dvc(node: yaml.ScalarNode) -> int | str | None:
    """Return what DVC's YAML 1.2 makes of a number of 1.1, where it is something else; else None."""
    if node.tag not in ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float") or node.style is not None:
        return None
    if _is_text_to_dvc(node):
        return node.value
    if not re.fullmatch(r"[-+]?0[0-7_]+", node.value):  # a number to the base of 8
        return None
    other = int(node.value.replace("_", ""))
    return None if other == yaml.safe_load(node.value) else other


def _is_text_to_dvc(node: yaml.ScalarNode) -> bool:
    """Return whether YAML 1.2 reads as text what is a boolean (yes, off) or a number (12:30) to 1.1."""
    base_of_60 = re.fullmatch(r"[-+]?[\d_]+(:[\d.]+)+", node.value)
    return node.value.lower() in ("yes", "no", "on", "off") or base_of_60 is not None
