"""A look at a source: the names that `extract` would give, tables, a sample, and what was not looked at."""

import gzip
import tarfile
from pathlib import Path

import numpy as np
import pytest
from made_archives import CAT, DOG, FILES, FORMATS, entry, make_7z, make_tar, make_zip

from unfreeze.archive import look as module
from unfreeze.archive.look import Look, LookLimits, look
from unfreeze.archive.select import ReadOptions
from unfreeze.core.console import UserError

NOISE = np.random.default_rng(0).bytes(10**5)
"""It does not compress."""


def compare(result: Look, unpacked) -> None:
    """Check that a complete look saw what `extract` gives."""
    files = {path: data for path, data in unpacked.files.items() if not path.endswith("/")}
    assert list(result.sizes) == sorted(files)
    assert all(size in (None, len(files[path])) for path, size in result.sizes.items())
    assert result.empty_folders == [path.rstrip("/") for path in unpacked.files if path.endswith("/")]
    assert result.is_complete and result.unseen == []
    for path, content in [*result.tables.items(), *result.images.items()]:
        assert content == files[path]
    assert list(result.remarks) == list(unpacked.summary.remarks)


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_is_listed_and_read(name, tmp_path, unpack):
    source = FORMATS[name](tmp_path / name, FILES)
    result = look(source)
    compare(result, unpack(source))
    assert result.tables == {"labels.csv": FILES["labels.csv"]}
    assert result.images == {path: data for path, data in FILES.items() if path.endswith(".png")}


def test_names_are_those_of_extract_with_archives_inside_links_and_junk(tmp_path, unpack, caplog):
    deep = make_zip(tmp_path / "deep.zip", {"3.png": CAT, "a.json": b"[]"}).read_bytes()
    inner = make_7z(tmp_path / "inner.7z", {"x/1.png": CAT, "x/deep.zip": deep, ".git/x": b"x"}).read_bytes()
    others = [entry("none", tarfile.DIRTYPE), entry("to.csv", tarfile.SYMTYPE, "a.tsv"),
              entry("gone", tarfile.SYMTYPE, "x")]  # fmt: skip
    source = tmp_path / "raw"
    (source / "plain").mkdir(parents=True)
    make_tar(source / "a.tgz", {"in/inner.7z": inner, "2.png": DOG, "a.tsv": b"t"}, *others, mode="w:gz")
    for kind in ("rock", "paper"):
        make_zip(source / "plain" / f"{kind}.zip", {"0.png": kind.encode()})
    (source / "b.csv.gz").write_bytes(gzip.compress(b"b"))
    (source / ".hidden").write_bytes(b"x")
    result = look(source)
    assert not caplog.records
    compare(result, unpack(source))
    assert result.tables == {"a.tsv": b"t", "b.csv": b"b", "in/x/a.json": b"[]"}
    assert len(result.images) == 5
    assert len(result.notes) == 1 and "0.png" in result.notes[0]
    assert result.sizes["b.csv"] is None
    chosen = look(source, options=ReadOptions(only=("plain",)))
    assert list(chosen.sizes) == ["plain/paper/0.png", "plain/rock/0.png"]
    with pytest.raises(UserError, match=r"extract\.only: 'plan' matches nothing"):
        look(source, options=ReadOptions(only=("plan",)))


def test_the_sample_is_spread_over_the_folders_and_the_same_each_time(tmp_path):
    files = {f"{name:02}/{i:03}.jpg": b"%d %d" % (name, i) for name in range(40) for i in range(30)}
    source = make_zip(tmp_path / "a.zip", files)
    result = look(source)
    assert len(result.images) == 64
    assert {path[:2] for path in result.images} == {f"{name:02}" for name in range(40)}
    assert look(source) == result
    few = look(source, limits=LookLimits(images=4))
    assert list(few.images) == ["00/000.jpg", "10/000.jpg", "20/000.jpg", "30/000.jpg"]
    flat = make_zip(tmp_path / "b.zip", {f"{i:03}.jpg": b"x" for i in range(100)})
    assert list(look(flat, limits=LookLimits(images=4)).images) == ["000.jpg", "025.jpg", "050.jpg", "075.jpg"]


def test_files_without_a_suffix_are_sampled_where_there_are_no_images(tmp_path):
    assert list(look(make_zip(tmp_path / "a.zip", {"1": CAT, "2": DOG, "x.txt": b"x"})).images) == ["1", "2"]


def test_a_compressed_tar_is_listed_in_part(tmp_path):
    files = {f"{i:02}.jpg": NOISE for i in range(20)} | {"labels.csv": b"x"}
    source = make_tar(tmp_path / "a.tar.gz", files, mode="w:gz")
    result = look(source, limits=LookLimits(list_bytes=10**6))
    assert not result.is_complete
    assert 3 < len(result.sizes) < 12
    assert set(result.images) == set(result.sizes)
    [unseen] = result.unseen
    assert unseen.startswith(f"{source}: a.tar: listed in part") and "1.0 MB" in unseen
    plain = look(make_tar(tmp_path / "a.tar", files), limits=LookLimits(list_bytes=0))
    assert plain.is_complete and len(plain.sizes) == 21
    assert plain.tables == {"labels.csv": b"x"}


@pytest.mark.parametrize("make", [make_tar, make_zip, make_7z])
def test_an_archive_inside_that_is_too_large_is_not_opened_and_the_rest_is_listed(make, tmp_path):
    large = make_zip(tmp_path / "large.zip", {"1.jpg": NOISE}, method=0).read_bytes()
    small = make_zip(tmp_path / "small.zip", {"2.jpg": b"x"}).read_bytes()
    source = make(tmp_path / "a", {"a/large.zip": large, "b/small.zip": small, "3.jpg": b"y"})
    result = look(source, limits=LookLimits(list_bytes=50_000))
    assert not result.is_complete
    assert result.unseen[0].startswith(f"{source}: a/large.zip: not opened")
    if make is make_7z:  # what comes after it lies in the same compressed stream
        assert result.sizes == {"3.jpg": 1}
        assert result.unseen[1].startswith(f"{source}: b/small.zip: listed in part")
    else:
        assert result.sizes == {"3.jpg": 1, "b/2.jpg": 1}
        assert len(result.unseen) == 1


def test_what_lies_too_deep_in_a_solid_archive_is_said(tmp_path):
    files = {f"{name}/{i}.jpg": NOISE for name in "abc" for i in range(5)} | {"labels.csv": b"x"}
    source = make_7z(tmp_path / "a.7z", files)
    result = look(source, limits=LookLimits(table_bytes=10**6, image_bytes=6 * 10**5))
    assert result.is_complete and len(result.sizes) == 16
    assert result.tables == {}
    assert set(result.images) == {*(f"a/{i}.jpg" for i in range(5)), "b/0.jpg"}
    table, images = result.unseen
    assert "labels.csv" in table and "c/" in images and "b/" not in images
    all_read = look(source)
    assert all_read.tables == {"labels.csv": b"x"} and len(all_read.images) == 15 and all_read.unseen == []


def test_little_is_decoded(tmp_path, monkeypatch):
    """Of a .zip and a plain tar what is read; of a solid .7z what lies before it too."""
    budgets = []

    class Watched(module.LookBudget):
        def __init__(self, limit: int) -> None:
            super().__init__(limit)
            budgets.append(self)

    monkeypatch.setattr(module, "LookBudget", Watched)
    files = {f"{i}.jpg": NOISE for i in range(9)} | {"a.csv": b"x"} | {"z.bin": NOISE}
    for make in (make_zip, make_tar, make_7z):
        budgets.clear()
        look(make(tmp_path / "a", files), limits=LookLimits(images=3))
        lister, reader = [budget.spent for budget in budgets]
        assert lister == 0
        assert reader == {make_zip: 3 * 10**5 + 1, make_tar: 3 * 10**5 + 1, make_7z: 9 * 10**5 + 1}[make]


def test_a_compressed_table_that_is_too_large_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr("unfreeze.archive.listing.MAX_BYTES", 10)
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "a.csv.gz").write_bytes(gzip.compress(bytes(100)))
    (tmp_path / "raw" / "b.csv").write_bytes(b"x")
    result = look(tmp_path / "raw")
    assert result.tables == {"b.csv": b"x"}
    assert len(result.unseen) == 1 and result.unseen[0].startswith("a.csv: not read")


def test_what_extract_refuses_is_refused(tmp_path):
    for source, message in (
        (make_zip(tmp_path / "a.zip", {"../up.png": CAT}), r"a\.zip: the name"),
        (tmp_path / "none.zip", r"none\.zip is not there"),
        (make_7z(tmp_path / "b.7z", FILES, password="secret"), "UNFREEZE_ARCHIVE_PASSWORD"),
        (make_tar(tmp_path / "c.tar", {"1.png": CAT}, entry("1.png", tarfile.REGTYPE)), r"1\.png has come out"),
    ):
        with pytest.raises(UserError, match=message):
            look(source)
    assert look(tmp_path / "b.7z", password="secret").tables == {"labels.csv": FILES["labels.csv"]}


def test_tables_beside_an_archive_are_listed(tmp_path):
    (tmp_path / "labels.csv").write_bytes(b"x")
    source = make_zip(tmp_path / "a.zip", {"1.png": CAT})
    assert look(source).tables_beside == [tmp_path / "labels.csv"]


REAL = {
    "ants_bees": (398, [], 64), "dog_breeds": (1201, ["labels.csv"], 64), "train_v2.csv": (1, ["train_v2.csv"], 0),
    "movie_posters": (701, ["labels.csv"], 64), "cleaned_vs_dirty_train": (40, [], 40),
}  # fmt: skip


@pytest.mark.parametrize("name", REAL)
def test_real_archives(name, real_data: Path):
    result = look(real_data / f"{name}.7z")
    assert (len(result.sizes), [*result.tables], len(result.images)) == REAL[name]
    assert result.is_complete and not result.unseen
