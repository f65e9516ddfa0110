"""The fields of radar records as a table of labels."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unfreeze.labels.table import LabelTable

if TYPE_CHECKING:
    import pandas as pd


def read_record_fields(images: pd.DataFrame) -> LabelTable:
    """Return the paths of the records and their fields, which follow the columns of every images.csv.

    Args:
        images: all columns of images.csv as text.

    Raises:
        UserError: the records have no fields.
    """
    headings = list(images.columns)
    fields = ["path", *headings[headings.index("format") + 1 :]]
    return LabelTable.build("the records", fields, [images[name] for name in fields], images["path"].tolist())
