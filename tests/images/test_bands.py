import hashlib
import json
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from image_files import pack, read_rows

from unfreeze.core.arrays import open_array
from unfreeze.core.console import UserError
from unfreeze.core.files import read_json
from unfreeze.images.bands import decode_bands, parse_records, read_record
from unfreeze.images.decode import DecodeParams
from unfreeze.images.members import ExtractedTar, Rejection
from unfreeze.images.outs import Counts, ImageFiles

SIZE = 16


def record(name="a", **changes) -> dict:
    values = np.random.default_rng(len(str(name))).normal(-20, 3, (2, SIZE * SIZE)).round(6).tolist()
    return {"id": name, "band_1": values[0], "band_2": values[1], "inc_angle": 39.5, "is_iceberg": 1} | changes


def params(channels="bands_mean", max_rejected=0.9) -> DecodeParams:
    return DecodeParams(image_size=SIZE, fit="crop", channels=channels, max_rejected=max_rejected)


def decode_files(folder: Path, files: dict[str, bytes]) -> Counts:
    pack(folder, files)
    source = ExtractedTar(tar=folder / "extracted.tar", index=folder / "extracted.csv")
    return decode_bands(source=source, params=params(), out=ImageFiles.in_folder(folder / "out"))


def decode(folder: Path, *records) -> Counts:
    """Decode records that lie in one file."""
    return decode_files(folder, {"p/train.json": json.dumps(records).encode()})


def in_pieces(text: str, size: int) -> list[bytes]:
    data = text.encode()
    return [data[i : i + size] for i in range(0, len(data), size)]


@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_records_come_one_by_one_whatever_the_pieces(size):
    made = [{"id": "ä]}{", "b": [1, -2.5e3, [], {}]}, {}, {"id": '"\\'}]
    for text in (json.dumps(made, ensure_ascii=False), json.dumps(made, indent=2), "\ufeff" + json.dumps(made)):
        assert list(parse_records(in_pieces(text + " \n", size), "x.json")) == made


@pytest.mark.parametrize("text", ["", " ", "{}", '{"a": 1}', "[]", "[1, 2]", "nonsense", '["a"]', "[", "[{", "[,"])
def test_what_is_no_list_of_records_is_rejected(text):
    with pytest.raises(Rejection, match="no list of records"):
        list(parse_records([text.encode()], "x.json"))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('[{"id": 1}', "it breaks off"),
        ('[{"id": 1},', "it breaks off"),
        ('[{"id": 1}, {"id": ', "Expecting value"),
        ('[{"id": 1}, 7]', "'7]' stands where one of { is expected"),
        ('[{"id": 1} {"id": 2}]', "stands where one of , ] is expected"),
        ('[{"id": 1}][{"id": 2}]', "stands where its end is expected"),
        ('[{"id": 1}, {"id": ' + "[" * 100_000 + "]" * 100_000 + "}]", "recursion"),
    ],
)
def test_a_file_that_is_damaged_later_on_is_an_error(text, problem):
    with pytest.raises(UserError, match=r"x\.json is damaged after record 1: ") as caught:
        list(parse_records(in_pieces(text, 5000), "x.json"))
    assert problem in str(caught.value)


def test_text_that_is_no_utf_8_is_an_error():
    with pytest.raises(UserError, match="not UTF-8"):
        list(parse_records([b'[{"id": "\xff"}]'], "x.json"))


def test_a_record_without_end_is_not_read_for_ever(monkeypatch):
    monkeypatch.setattr("unfreeze.images.bands.MAX_RECORD", 5000)

    def endless():
        yield b'[{"id": 1}, {"id": "'
        while True:
            yield b"a" * 1000

    with pytest.raises(UserError, match="Unterminated string"):
        list(parse_records(endless(), "x.json"))


def test_bands_and_the_third_of_them():
    made = record()
    for channels, third in (("bands_mean", lambda a, b: (a + b) / 2), ("bands_ratio", lambda a, b: a - b)):
        name, image, fields = read_record(made, SIZE, channels)
        assert name == "a" and fields == {"id": "a", "inc_angle": 39.5, "is_iceberg": 1}
        assert image.shape == (SIZE, SIZE, 3) and image.dtype == np.float32
        first, second = (np.array(made[f"band_{i}"], np.float32).reshape(SIZE, SIZE) for i in (1, 2))
        assert np.array_equal(image[..., 0], first) and np.array_equal(image[..., 1], second)
        assert np.allclose(image[..., 2], third(first, second))


LONG = [0.5] * (SIZE * SIZE)
HOSTILE = [
    ({"band_1": None}, "band_1 is missing"),
    ({"band_2": "text"}, "band_2 is no list"),
    ({"band_2": {"0": 1}}, "band_2 is no list"),
    ({"band_1": LONG[:-1]}, "band_1 has 255 values, decode.image_size = 16 takes 256"),
    ({"band_1": [1.0] * 5625}, r"band_1 has 5,625 values \(75 x 75\), decode.image_size = 16"),
    ({"band_1": []}, "band_1 has 0 values"),
    ({"band_1": [*LONG[:-1], "1.0"]}, "no number"),
    ({"band_1": [*LONG[:-1], None]}, "no number"),
    ({"band_1": [*LONG[:-1], True]}, "no number"),
    ({"band_1": [*LONG[:-1], [1.0]]}, "no number"),
    ({"band_1": [*LONG[:-1], float("nan")]}, "not finite"),
    ({"band_1": [*LONG[:-1], float("-inf")]}, "not finite"),
    ({"band_1": [*LONG[:-1], 1e39]}, "not finite"),
    ({"band_1": [*LONG[:-1], 10**400]}, "not finite"),
    ({"id": None}, "id is 'None'"),
    ({"id": ""}, "id is ''"),
    ({"id": "a/b"}, "id is 'a/b'"),
    ({"id": "..\\b"}, "id is"),
    ({"id": "a\nb"}, "id is"),
    ({"id": ["a"]}, "id is"),
    ({"id": True}, "id is"),
    ({"id": "x" * 300}, "id is"),
    ({"note": "half \ud800 a pair"}, "'note' holds half of a surrogate pair"),
]


@pytest.mark.parametrize(("change", "reason"), HOSTILE)
def test_unusable_records_are_rejected_with_the_reason(change, reason):
    with pytest.raises(Rejection, match=reason):
        read_record(record() | change, SIZE, "bands_mean")


def test_everything_is_stored_in_the_order_of_the_file(tmp_path):
    made = [
        record("b"),
        record("long"),
        record("c", inc_angle="na", is_iceberg=None, notes=[1, 2], extra=" x\n y "),
    ]
    assert decode(tmp_path, *made, record("b"), record("d", band_1=[])) == Counts(3, 2, 0)
    pixels, rows = open_array(tmp_path / "out" / "pixels.npy"), read_rows(tmp_path / "out" / "images.csv")
    assert pixels.shape == (3, SIZE, SIZE, 3) and pixels.dtype == np.float32
    assert [row["path"] for row in rows] == ["p/train.json/b", "p/train.json/long", "p/train.json/c"]
    assert rows[1]["pixels_sha256"] == hashlib.sha256(pixels[1].tobytes()).hexdigest()
    assert {key: rows[2][key] for key in ("row", "width", "height", "mode", "format")} == {
        "row": "2", "width": "16", "height": "16", "mode": "bands", "format": "JSON",
    }  # fmt: skip
    assert {key: rows[2][key] for key in ("inc_angle", "is_iceberg", "extra")} == {
        "inc_angle": "na", "is_iceberg": "", "extra": "x y",
    }  # fmt: skip
    assert "notes" not in rows[0]
    assert [(row["path"], row["reason"]) for row in read_rows(tmp_path / "out" / "rejected.csv")] == [
        ("p/train.json/b", "another record has the id b"),
        ("p/train.json/d", "band_1 has 0 values (0 x 0), decode.image_size = 16 takes 256"),
    ]


def test_several_files_are_one_array_and_others_are_passed_over(tmp_path):
    files = {"b.json": [record("one")], "a/c.JSON": [record("two")], "meta.json": {"version": 1}}
    content = {name: json.dumps(made).encode() for name, made in files.items()}
    assert decode_files(tmp_path, content | {"x.csv": b"", ".hidden.json": b"[]"}) == Counts(2, 1, 2)
    assert [row["path"] for row in read_rows(tmp_path / "out" / "images.csv")] == ["a/c.JSON/two", "b.json/one"]
    assert read_rows(tmp_path / "out" / "rejected.csv")[0]["reason"].startswith('no list of records: \'{"version"')


def test_the_wrong_size_is_an_error_that_names_the_right_one(tmp_path):
    with pytest.raises(
        UserError, match=r"(?s)2 of 2 .*band_1 has 400 values \(20 x 20\), decode.image_size = 16"
    ) as caught:
        decode(tmp_path, record("a", band_1=[1.0] * 400), record("b", band_1=[1.0] * 400))
    assert "p/train.json/a" in str(caught.value)
    assert not (tmp_path / "out" / "pixels.npy").exists() and not (tmp_path / "out" / "images.csv").exists()


def test_no_json_at_all_is_an_error(tmp_path):
    with pytest.raises(UserError, match=r"none of them is \.json"):
        decode_files(tmp_path, {"a.png": b"", "b.csv": b""})


def test_fields_that_images_csv_cannot_hold_are_errors(tmp_path):
    for field, message in ({"path": "x"}, "a field 'path'"), ({"a\tb": 1}, "a field named"), (
        {f"f{i}": i for i in range(70)}, "72 different fields",
    ):  # fmt: skip
        made = {k: v for k, v in record("a").items() if k not in ("inc_angle",)} | field
        with pytest.raises(UserError, match=message):
            decode(tmp_path, made)
        assert [path.name for path in (tmp_path / "out").iterdir()] == ["rejected.csv"]


def test_fields_are_counted_over_all_records(tmp_path):
    """A new field in each record is no way to fill the memory: a row holds MAX_FIELDS of them at most."""
    with pytest.raises(UserError, match="103 different fields; 64 are allowed"):
        decode(tmp_path, *(record(i) | {f"f{i}": i} for i in range(100)))


def test_rows_from_before_a_field_came_have_an_empty_cell(tmp_path):
    bare = {key: value for key, value in record("a").items() if key in ("id", "band_1", "band_2")}
    fuller, other = bare | {"id": "b", "x": 0.1, "y": False}, bare | {"id": "c", "y": "né"}
    assert decode(tmp_path, bare, fuller, other).images == 3
    lines = (tmp_path / "out" / "images.csv").read_text(encoding="utf-8").splitlines()
    assert lines[0] == "row,path,width,height,mode,pixels_sha256,format,id,x,y"
    assert [line.partition(",JSON,")[2] for line in lines[1:]] == ["a,,", "b,0.1,False", "c,,né"]
    assert read_json(tmp_path / "out" / "card.json") == {
        "image_size": SIZE, "fit": "crop", "channels": "bands_mean",
    }  # fmt: skip


def test_memory_does_not_grow_with_the_file(tmp_path, monkeypatch):
    monkeypatch.setattr("unfreeze.images.bands.READ_BYTES", 1 << 16)
    text = ",".join(json.dumps(record(f"r{i}")) for i in range(400))
    pack(tmp_path, {"train.json": f"[{text}]".encode()})
    size = len(text)
    del text
    source = ExtractedTar(tar=tmp_path / "extracted.tar", index=tmp_path / "extracted.csv")
    import pandas  # noqa: F401  its modules are no memory that grows

    tracemalloc.start()
    decode_bands(source=source, params=params(max_rejected=0.0), out=ImageFiles.in_folder(tmp_path / "out"))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < size / 2
