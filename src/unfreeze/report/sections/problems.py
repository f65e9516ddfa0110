"""Lists of data problems worth a look, with the pictures of their first lines."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from unfreeze.report import similarity
from unfreeze.report.album import Album
from unfreeze.report.results import Results
from unfreeze.task.multi import Multi
from unfreeze.task.single import Single

MOST_PICTURES = 12
"""Of each list."""

Line = dict[str, Any]


@dataclass(frozen=True)
class _List:
    """How one of the lists is shown."""

    name: str
    title: str
    note: str
    describe: Callable[[Line], list[str]]
    """Says what is odd about a line, in words."""


def build(results: Results, album: Album) -> list[dict[str, Any]]:
    """Build the section: each list with its title, note, length and pictures."""
    task = results.predictions.task
    counts = results.split["split"].value_counts()
    pairs = (counts.get("valid", 0) + counts.get("test", 0)) * counts.get("train", 0)
    lists = (_LABEL_ERRORS[task.kind], _NEAR_DUPLICATES, _OUTLIERS)
    section = []
    for each in lists:
        table = results.problems[each.name]
        incomplete = each is _NEAR_DUPLICATES and pairs > similarity.MOST_PAIRS
        section.append(
            {
                "name": each.name,
                "title": each.title,
                "note": each.note + (_NOT_ALL_PAIRS if incomplete else ""),
                "count": len(table),
                "pictures": [
                    {
                        "uri": album.uri(line["row"]),
                        "other": album.uri(line["similar_row"]) if "similar_row" in line else None,
                        "lines": each.describe(line),
                        "path": line["path"],
                    }
                    for line in table[:MOST_PICTURES].to_dict("records")
                ],
            }
        )
    return section


def _describe_class_error(line: Line) -> list[str]:
    return [f"labelled {_label(line)}, {line['p_label']:.1%}", f"or {line['likely']}, {line['p_likely']:.1%}?"]


def _describe_label_error(line: Line) -> list[str]:
    verb = "has" if line["has_it"] == "yes" else "lacks"
    return [f"{verb} {line['suspect']}: {line['probability']:.1%}?"]


def _describe_near_duplicate(line: Line) -> list[str]:
    return [f"{line['split']}: {_label(line)}", f"{line['similarity']:.3f} like {line['similar_to']}"]


def _describe_outlier(line: Line) -> list[str]:
    return [f"{line['split']}: {_label(line)}", f"at most {line['similarity']:.3f} like another"]


def _label(line: Line) -> str:
    return line["label"] or "unlabelled"


_LABEL_ERRORS = {
    Single.kind: _List(
        name="label_errors",
        title="Labels that may be wrong",
        note="Images that the model, which did not train on them, takes for another class as surely as it "
        "usually takes images of that class (confident learning).",
        describe=_describe_class_error,
    ),
    Multi.kind: _List(
        name="label_errors",
        title="Labels that may be wrong",
        note="Labels that an image has or lacks although the model, which did not train on it, thinks otherwise.",
        describe=_describe_label_error,
    ),
}
_NEAR_DUPLICATES = _List(
    name="near_duplicates",
    title="Near duplicates across the split",
    note="Held-out images beside the training image that they are most like: these may make the numbers too good.",
    describe=_describe_near_duplicate,
)
_NOT_ALL_PAIRS = " Of so many pairs only those of images alike to the same few were compared: some may be missing."
_OUTLIERS = _List(
    name="outliers",
    title="Outliers",
    note="Images that are least like any training image.",
    describe=_describe_outlier,
)
