"""Labels from wherever they are: folders, records or a label file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unfreeze.core import paths, tables
from unfreeze.core.console import UserError
from unfreeze.labels.folders import label_by_folders
from unfreeze.labels.label import Label
from unfreeze.labels.match import label_by_table
from unfreeze.labels.params import SplitParams
from unfreeze.labels.records import read_record_fields
from unfreeze.labels.table import read_label_file

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd


def read_images(source: str) -> pd.DataFrame:
    """Read the columns of images.csv that labels from `source` (`split.labels`) take: one line an image."""
    columns = None if source == "records" else {"path": "text", "pixels_sha256": "text"}
    return tables.read(paths.IMAGES_CSV, columns)


def read_labels(images: pd.DataFrame, params: SplitParams) -> tuple[list[Label], list[tuple[str, str]]]:
    """Read the label of each image.

    Args:
        images: as `read_images` returns them.

    Returns:
        The label of each image; and what has no counterpart, as `label_by_table` returns it.

    Raises:
        UserError: as `label_by_folders`, `read_label_file` and `label_by_table` raise it, or a class has a folder
            and no usable image.
    """
    image_paths = images["path"].tolist()
    rejected = tables.read(paths.REJECTED_CSV, {"path": "text"})["path"].tolist()
    if params.labels == "folders":
        return _read_folders(image_paths, rejected), []
    table = read_record_fields(images) if params.labels == "records" else read_label_file(params.labels)
    return label_by_table(table, image_paths, rejected, params)


def _read_folders(image_paths: Sequence[str], rejected: Sequence[str]) -> list[Label]:
    # Folders whose every image was rejected, and empty ones, are classes that somebody meant to have.
    folders = [path.rpartition("/")[0] + "/" for path in rejected]
    extracted = tables.read(paths.EXTRACTED_CSV, {"path": "text"})["path"]
    folders += extracted[extracted.str.endswith("/")].tolist()
    labels, empty = label_by_folders(image_paths, folders)
    if empty:
        raise UserError(
            f"no usable image in class {', '.join(sorted(empty)[:10])}: the folder is empty, or all its "
            f"images are in {paths.REJECTED_CSV}. Mend the images or remove the folder"
        )
    return labels
