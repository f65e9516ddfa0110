"""What the files of an archive look like beside their labels: masks, boxes, tables, labels in names."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from unfreeze.core.console import UserError, few
from unfreeze.core.table_files import list_table_files
from unfreeze.labels.layout import name_split
from unfreeze.labels.names import find_pattern
from unfreeze.labels.table import read_label_files

MASK_ENDS = re.compile(
    r"(.+?)[-_ .](masks?|seg|segmentation|label|gt|annotation|anno|trimap)(?:[-_ .]?\d+)?", re.IGNORECASE
)
MOST_TABLES = 5
"""Tables that a hint reads."""


def find_other_jobs(images: Sequence[str], others: Sequence[str]) -> list[str]:
    """Say what belongs to detection or segmentation: boxes or masks beside the images.

    Args:
        images: paths of the images.
        others: paths of what is no image.
    """
    hints = []
    stems = {path.rpartition("/")[2].rpartition(".")[0] for path in images}
    for suffix, what in ((".xml", "Pascal VOC boxes"), (".txt", "YOLO boxes")):
        beside = [path for path in others if path.endswith(suffix) and _stem(path) in stems]
        if beside and 2 * len(beside) >= len(stems):
            hints.append(
                f"{len(beside):,} {suffix} files are called as the images, such as {beside[0]}: {what}, of a "
                "data set for detection; they are not read"
            )
    masks = [path for path in images if (match := MASK_ENDS.fullmatch(_stem(path))) and match[1] in stems]
    if masks and len(masks) >= 0.25 * len(images):
        end = MASK_ENDS.fullmatch(_stem(masks[0]))
        pattern = "*" + _stem(masks[0])[len(end[1]) :] + "*" if end else ""
        hints.append(
            f"{len(masks):,} images are called as another one with an end, such as {masks[0]}: masks? "
            f'extract.skip: ["{pattern}"] leaves them out'
        )
    return hints


def suggest_labels(images: Sequence[str], tables: Path) -> list[str]:
    """Say where else the labels may be, where folders are no classes.

    Args:
        tables: the folder of the archive's tables.
    """
    outside_test = [
        path for path in images if not any(name_split(part) == "test" for part in path.split("/")[:-1])
    ]
    hints = list(_describe_tables(tables))
    if pattern := find_pattern(outside_test):
        labels = sorted(
            {match["label"].strip(" ._-") for path in outside_test if (match := re.search(pattern, path))}
        )
        hints.append(f"the file names look like labels ({few(labels)}): set split.labels: names")
    return hints


def _describe_tables(folder: Path) -> Iterator[str]:
    for path in list_table_files(folder)[:MOST_TABLES]:
        try:
            table = read_label_files(path, folder)
        except UserError as error:
            yield f"a table that cannot be taken for labels: {error}"
        else:
            columns = list(table.columns)
            shown = ", ".join(columns[:5]) + (f" and {len(columns) - 5} more" if len(columns) > 5 else "")
            yield f"{path} has the columns {shown}: set split.labels: {path} if it holds the labels"


def _stem(path: str) -> str:
    return path.rpartition("/")[2].rpartition(".")[0]
