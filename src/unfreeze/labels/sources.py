"""Labels from wherever they are: folders, file names, records or label files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from unfreeze.core import paths, tables
from unfreeze.core.console import UserError, few
from unfreeze.core.table_files import list_table_files
from unfreeze.labels.classes import merge_classes
from unfreeze.labels.folders import label_by_folders
from unfreeze.labels.hints import find_other_jobs, suggest_labels
from unfreeze.labels.label import Reading
from unfreeze.labels.match import label_by_table
from unfreeze.labels.names import label_by_names
from unfreeze.labels.params import SplitParams
from unfreeze.labels.table import LabelTable, read_label_files
from unfreeze.task.kinds import TASKS

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd


@dataclass(frozen=True)
class Files:
    """What lies in the archive.

    Attributes:
        images: paths of the images that could be decoded, sorted.
        rejected: paths of those that could not.
        others: paths of everything else; an empty folder is `path/`.
        tables: the folder of the tables.
    """

    images: Sequence[str]
    rejected: Sequence[str]
    others: Sequence[str]
    tables: Path = paths.TABLES


def read_images(source: str) -> pd.DataFrame:
    """Read the columns of images.csv that labels from `source` (`split.labels`) take: one line an image."""
    columns = None if source == "records" else {"path": "text", "pixels_sha256": "text"}
    return tables.read(paths.IMAGES_CSV, columns)


def read_files(images: pd.DataFrame) -> Files:
    """Read the paths of what `extract` and `decode` have listed."""
    rejected = tables.read(paths.REJECTED_CSV, {"path": "text"})["path"]
    extracted = tables.read(paths.EXTRACTED_CSV, {"path": "text"})["path"]
    others = extracted[~extracted.isin(images["path"]) & ~extracted.isin(rejected)]
    return Files(images["path"].tolist(), rejected.tolist(), others.tolist())


def read_labels(files: Files, params: SplitParams, records: LabelTable | None = None) -> Reading:
    """Read the label of each image, and say what was taken.

    Args:
        records: the fields of records, for `split.labels` = records.

    Raises:
        UserError: as `label_by_folders`, `label_by_names`, `read_label_files`, `label_by_table` and
            `merge_classes` raise it; where no label can be read, with what else the files look like.
    """
    hints = find_other_jobs(files.images, files.others)
    try:
        reading = _read_source(files, params, records)
    except UserError as error:
        others = suggest_labels(files.images, files.tables) if params.labels == "folders" else []
        raise UserError("; ".join([str(error), *others, *hints])) from None
    labels = merge_classes(reading.labels, params, TASKS[params.kind])
    unread = list_table_files(files.tables) if params.labels in ("folders", "names") else []
    if unread:
        hints.append(f"tables in the archive that are not read: {few(unread)} (split.labels names one)")
    return Reading(
        source=reading.source,
        labels=labels,
        facts=[*reading.facts, *hints],
        columns=reading.columns,
        unmatched=reading.unmatched,
    )


def _read_source(files: Files, params: SplitParams, records: LabelTable | None) -> Reading:
    if params.labels == "folders":
        # Folders whose every image was rejected, and empty ones, are classes that somebody meant to have.
        further = [path.rpartition("/")[0] + "/" for path in files.rejected]
        further += [path for path in files.others if path.endswith("/")]
        return label_by_folders(files.images, further, params)
    if params.labels == "names":
        return label_by_names(files.images, params)
    table = records or read_label_files(params.labels, files.tables)
    return label_by_table(table, files.images, files.rejected, params)
