"""What only a .7z can hold, and the members of py7zr that we use."""

import ast
import hashlib
import operator
import os
from pathlib import Path

import py7zr
import pytest
from made_archives import FILES, make_7z
from py7zr import compressor

from unfreeze.archive import sevenzip
from unfreeze.core.console import UserError


def test_encrypted_archives(tmp_path, unpack):
    for source in (
        make_7z(tmp_path / "data.7z", FILES, password="secret"),
        make_7z(tmp_path / "names.7z", FILES, password="secret", header_encryption=True),
    ):
        with pytest.raises(UserError, match=r"is encrypted; set .*UNFREEZE_ARCHIVE_PASSWORD"):
            unpack(source)
        with pytest.raises(UserError, match="the password is wrong"):
            unpack(source, password="wrong")
        assert unpack(source, password="secret").files == FILES


def test_ppmd_is_refused_because_its_decoder_crashes(tmp_path, unpack):
    with pytest.raises(UserError, match=r"a\.7z uses the method PPMd, which cannot be read here"):
        unpack(make_7z(tmp_path / "a.7z", FILES, filters=[{"id": py7zr.FILTER_PPMD}]))


def test_the_private_members_exist_in_the_installed_py7zr(tmp_path):
    """Look at each where we use it: in an archive of every kind of decoder that hides whether it wants input."""
    archives, decoders = [], {}
    for method in (py7zr.FILTER_LZMA, py7zr.FILTER_BROTLI):
        archive = py7zr.SevenZipFile(make_7z(tmp_path / f"{method}.7z", FILES, filters=[{"id": method}]))
        archives.append(archive)
        folder = archive.header.main_streams.unpackinfo.folders[0]
        whole = compressor.SevenZipDecompressor(folder.coders, 0, folder.unpacksizes, None)
        decoders |= {type(decoder).__name__: decoder for decoder in (whole, *whole.chain)}
    objects = decoders | {
        "SevenZipFile": archive,
        "main_streams": archive.header.main_streams,
        "Folder": folder,
        "ArchiveFile": next(iter(archive.files)),
        "SupportedMethods": compressor.SupportedMethods,
        "UnsupportedCompressionMethodError": py7zr.exceptions.UnsupportedCompressionMethodError(b"", ""),
    }
    assert objects.keys() == sevenzip.PRIVATE_MEMBERS.keys()
    for name, members in sevenzip.PRIVATE_MEMBERS.items():
        for member in members:
            operator.attrgetter(member)(objects[name])
    for archive in archives:
        archive.close()


def test_the_list_of_private_members_names_nothing_that_is_not_used():
    tree = ast.parse(Path(sevenzip.__file__).read_text())
    attributes = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)]
    tried = {call.args[1].value for call in calls if call.func.id in ("getattr", "hasattr")}
    for members in sevenzip.PRIVATE_MEMBERS.values():
        assert set(".".join(members).split(".")) <= attributes | tried


REAL = os.environ.get("UNFREEZE_REAL_DATA")


# Files that come out and links skipped, or the reason for refusing. They are py7zr's own test archives.
ODD = {
    "archive.7z.001": (12, 0),
    "archive.7z.002": r"name .*archive\.7z\.001",
    "bzip2_2.7z": (1, 0),
    "copy.7z": (2, 0),
    "crc_corrupted.7z": r"src/scripts/py7zr is damaged \(its checksum differs\)",
    "data_corrupted.7z": r"setup\.py is damaged",
    "deflate64.7z": (20, 0),
    "empty.7z": "holds no files",
    "encrypted_1.7z": (2, 0),
    "extra_payload_data.7z": (1, 0),
    "filename_encryption.7z": (1, 0),
    "hidden_linux_folder.7z": "holds no files",
    "longpath.7z": (2, 0),
    "lz4.7z": "uses the method LZ4",
    "lzma2bcj2.7z": "uses the method BCJ2",
    "ppmd.7z": "uses the method PPMd",
    "root_path_arcname.7z": r"the name '/a/b/test\.txt' is absolute",
    "symlink.7z": (4, 1),
    "symlink_2.7z": (71, 6),
    "umlaut-solid.7z": (1, 0),
    "zerosize.7z": (2, 0),
    "zstd.7z": (3, 0),
    "zstdmt-brotli.7z": r"10000SalesRecords\.csv uses a method which cannot be read here",
}


@pytest.mark.skipif(not REAL, reason="UNFREEZE_REAL_DATA does not name the folder of real archives")
@pytest.mark.parametrize("name", ODD)
def test_odd_archives_from_the_wild(name, tmp_path, unpack):
    source = Path(REAL) / "odd_archives" / name
    expected = ODD[name]
    password = "hello" if name == "filename_encryption.7z" else "secret"
    if isinstance(expected, str):
        with pytest.raises(UserError, match=expected):
            unpack(source, password=password)
        return
    result = unpack(source, password=password)
    assert (result.summary.files, result.summary.links_skipped) == expected
    for row in result.rows:
        if not row["path"].endswith("/"):
            assert hashlib.sha256(result.files[row["path"]]).hexdigest() == row["sha256"]
    if not name.endswith(".001"):
        with py7zr.SevenZipFile(source, password=password) as archive:
            archive.extractall(tmp_path / "py7zr")
        for path, data in result.files.items():
            assert path.endswith("/") or (tmp_path / "py7zr" / path).read_bytes() == data


@pytest.mark.skipif(not REAL, reason="UNFREEZE_REAL_DATA does not name the folder of real archives")
def test_all_odd_archives_have_an_expectation():
    assert sorted(path.name for path in (Path(REAL) / "odd_archives").iterdir()) == sorted(ODD)
