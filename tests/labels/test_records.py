import pandas as pd
from label_files import split_params

from unfreeze.labels.label import Label
from unfreeze.labels.match import label_by_table
from unfreeze.labels.records import read_record_fields


def test_the_fields_of_records_are_a_table():
    plain = {"row": "0", "width": "75", "height": "75", "mode": "bands", "pixels_sha256": "0", "format": "JSON"}
    images = [
        {"path": "p/train.json/a"} | plain | {"id": "a", "inc_angle": "38.5", "is_iceberg": "1"},
        {"path": "p/train.json/b"} | plain | {"id": "b", "inc_angle": "na", "is_iceberg": "0"},
        {"path": "p/test.json/c"} | plain | {"id": "c", "inc_angle": "40.0", "is_iceberg": ""},
    ]
    chosen = split_params(labels="records", label_column="is_iceberg", group="inc_angle", numbers=["inc_angle"])
    table = read_record_fields(pd.DataFrame(images, dtype=pd.StringDtype("pyarrow")))
    assert list(table.columns) == ["path", "id", "inc_angle", "is_iceberg"]
    reading = label_by_table(table, [image["path"] for image in images], [], chosen)
    assert reading.labels == [
        Label("1", None, "38.5", (38.5,)),
        Label("0", None, "", (None,)),
        Label("", "test", "", (40.0,)),
    ]
    assert reading.unmatched == [("p/test.json/c", "empty label: predicted only")]
