"""Reads the tags of a cell: `beach,night sky`, `clear primary`, `['a', 'b']`."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from functools import cache

from unfreeze.core.console import UserError, few
from unfreeze.task.base import LabelCells
from unfreeze.task.cells import read_lists

SEPARATORS = ",;|"
"""If a cell has one of them, it separates the tags of all cells; else white space does."""
OTHER_SEPARATORS = "+&/"
"""They may separate tags, or belong to one."""
MOST_BOUND = 0.05
"""Share of the cells with words that occur in one and the same tag only, from which on white space is in doubt."""


def read_tags(table: LabelCells, column: str, separator: str) -> list[Iterable[str]]:
    """Return the different tags of each row.

    Args:
        separator: `split.separator`.

    Raises:
        UserError: with `auto`, several separators occur, or the cells can be read in two ways.
    """
    lists = read_lists(table, column)
    if lists is not None:
        return [frozenset(items or ()) - {""} for items in lists]
    texts = table.texts(column)
    counts = Counter(texts)
    if separator == "auto":
        mark = _choose_separator(table, column, counts)
    else:
        mark = {"space": None, "none": "\0"}.get(separator, separator)

    @cache  # of a million images many have the same tags
    def split_tags(text: str) -> frozenset[str]:
        return frozenset(tag.strip() for tag in text.split(mark)) - {""}

    return [split_tags(text) for text in texts]


def _choose_separator(table: LabelCells, column: str, counts: Counter[str]) -> str | None:
    """Return the separator of cells; None is white space."""
    marks = [mark for mark in SEPARATORS if any(mark in text for text in counts)]
    if len(marks) > 1:
        raise UserError(
            f"{table.name}: {column} has {' and '.join(marks)}; use one of them between labels, or say which one "
            f'separates them: split.separator: "{marks[0]}"'
        )
    mark = marks[0] if marks else None
    tags = {tag.strip() for text in counts for tag in text.split(mark)}
    for other in OTHER_SEPARATORS:
        joined = [tag for tag in tags if any(part.strip() in tags for part in tag.split(other)) and other in tag]
        if joined:
            raise UserError(
                f"{table.name}: {column} has {few(joined)}, whose parts are labels too. If {other} separates "
                f'labels, set split.separator: "{other}"; if it belongs to them, {mark or "none (a cell is one)"}'
            )
    if mark is None and (bound := _find_bound_words(counts)):
        raise UserError(
            f"{table.name}: {column} has {few(bound)}, whose words occur nowhere else. Is each one label? Set "
            "split.separator: none (or the text between labels). Is each word a label? Set split.separator: space"
        )
    return mark


def _find_bound_words(counts: Counter[str]) -> Sequence[str]:
    """Return the texts of which two words or more occur in no other text, if many cells have such a text."""
    texts_of_word = defaultdict(set)
    for text in counts:
        for word in text.split():
            texts_of_word[word].add(text)
    lonely = Counter(next(iter(texts)) for texts in texts_of_word.values() if len(texts) == 1)
    bound = sorted(text for text, words in lonely.items() if words > 1)
    cells = sum(count for text, count in counts.items() if text)
    return bound if sum(counts[text] for text in bound) > MOST_BOUND * cells else []
