"""Every archive is unpacked right, or refused with its name and the reason."""

import bz2
import csv
import gzip
import hashlib
import io
import lzma
import os
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import py7zr
import pytest
from backports import zstd

from unfreeze.console import UserError
from unfreeze.data.archive import Summary, extract

CAT, DOG = b"\x89PNG cat", bytes(range(256)) * 700
FILES = {"set/cat/1.png": CAT, "set/dog/Größe 1.png": DOG, "labels.csv": b"name,label\n"}
LONG = "/".join(["a" * 90] * 4) + "/" + "ö" * 100 + ".png"


class Result:
    """What a run of `extract` left: the summary and path -> bytes, read through the index."""

    def __init__(self, folder: Path, summary: Summary):
        self.tar, self.csv = folder / "out.tar", folder / "out.csv"
        self.summary = summary
        with self.csv.open(encoding="utf-8", newline="") as file:
            self.rows = list(csv.DictReader(file))
        content = self.tar.read_bytes()
        self.files = {}
        for row in self.rows:
            start = int(row["offset"])
            self.files[row["path"]] = content[start : start + int(row["size"])]


@pytest.fixture
def unpack(tmp_path: Path) -> Callable[..., Result]:
    def run(source: Path, max_bytes: int = 10**9, password: str | None = None) -> Result:
        out = tmp_path / "out"
        return Result(out, extract(source, out / "out.tar", out / "out.csv", max_bytes, password))

    yield run
    left = sorted(path.name for path in (tmp_path / "out").glob("*"))
    assert left in ([], ["out.csv", "out.tar"]), "temporary files were left behind, or half of the outs"


def make_7z(path: Path, files: dict[str, bytes], **options) -> Path:
    with py7zr.SevenZipFile(path, "w", **options) as archive:
        for name, data in files.items():
            archive.writestr(data, name)
    return path


def make_zip(path: Path, files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def make_tar(path: Path, files: dict[str, bytes] | None = None, *others: tarfile.TarInfo, mode="w") -> Path:
    with tarfile.open(path, mode) as archive:
        for name, data in (files or {}).items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        for info in others:
            archive.addfile(info)
    return path


def entry(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def make_zst(path: Path, data: bytes) -> Path:
    path.write_bytes(zstd.compress(data, options={zstd.CompressionParameter.checksum_flag: 1}))
    return path


def whole_tar(path: Path) -> bytes:
    return make_tar(path, FILES).read_bytes()


FORMATS = {
    "a.7z": make_7z,
    "a.zip": make_zip,
    "stored.zip": lambda path, files: make_zip(path, files, zipfile.ZIP_STORED),
    "bzip2.zip": lambda path, files: make_zip(path, files, zipfile.ZIP_BZIP2),
    "lzma.zip": lambda path, files: make_zip(path, files, zipfile.ZIP_LZMA),
    "a.tar": make_tar,
    "a.tar.gz": lambda path, files: make_tar(path, files, mode="w:gz"),
    "a.tgz": lambda path, files: make_tar(path, files, mode="w:gz"),
    "a.tar.bz2": lambda path, files: make_tar(path, files, mode="w:bz2"),
    "a.tar.xz": lambda path, files: make_tar(path, files, mode="w:xz"),
    "a.tar.zst": lambda path, files: make_zst(path, whole_tar(path.with_suffix(""))),
    "no-suffix": lambda path, files: make_tar(path, files, mode="w:gz"),
    "delta.7z": lambda path, files: make_7z(
        path, files, filters=[{"id": py7zr.FILTER_DELTA}, {"id": py7zr.FILTER_LZMA2, "preset": 1}]
    ),
    "bcj.7z": lambda path, files: make_7z(
        path, files, filters=[{"id": py7zr.FILTER_X86}, {"id": py7zr.FILTER_LZMA, "preset": 1}]
    ),
    **{
        f"{method}.7z": lambda path, files, id=id: make_7z(path, files, filters=[{"id": id}])
        for method, id in {
            "copy": py7zr.FILTER_COPY,
            "deflate": py7zr.FILTER_DEFLATE,
            "bzip2": py7zr.FILTER_BZIP2,
            "zstd": py7zr.FILTER_ZSTD,
            "brotli": py7zr.FILTER_BROTLI,
        }.items()
    },
}


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_the_same_files(name, tmp_path, unpack):
    result = unpack(FORMATS[name](tmp_path / name, FILES))
    assert result.files == FILES
    assert (result.summary.files, result.summary.bytes) == (3, sum(map(len, FILES.values())))


def test_the_tar_is_plain_and_the_index_describes_it(tmp_path, unpack):
    files = {**FILES, LONG: b"long", "empty.txt": b""}
    result = unpack(make_7z(tmp_path / "a.7z", files))
    with tarfile.open(result.tar, "r:") as tar:
        assert {member.name: tar.extractfile(member).read() for member in tar} == files
        for member in tar:
            assert (member.mtime, member.uid, member.gid, member.mode) == (0, 0, 0, 0o644)
            assert member.uname == member.gname == ""
    assert [row["path"] for row in result.rows] == sorted(files)
    for row in result.rows:
        data = files[row["path"]]
        assert (int(row["size"]), row["sha256"]) == (len(data), hashlib.sha256(data).hexdigest())


def test_the_same_source_gives_the_same_bytes(tmp_path, unpack):
    source = make_tar(tmp_path / "a.tar", FILES, entry("link.png", tarfile.SYMTYPE, "set/cat/1.png"))
    first = unpack(source)
    before = first.tar.read_bytes(), first.csv.read_bytes()
    again = unpack(source)
    assert (again.tar.read_bytes(), again.csv.read_bytes()) == before


@pytest.mark.parametrize("suffix", ["gz", "bz2", "xz", "zst"])
def test_a_single_compressed_file(suffix, tmp_path, unpack):
    compress = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress, "zst": zstd.compress}[suffix]
    (tmp_path / f"a.csv.{suffix}").write_bytes(compress(DOG))
    assert unpack(tmp_path / f"a.csv.{suffix}").files == {"a.csv": DOG}


def test_archives_inside_archives_land_in_the_folder_that_holds_them(tmp_path, unpack):
    inner = make_zip(tmp_path / "inner.zip", {"1.png": CAT}).read_bytes()
    tar = make_tar(tmp_path / "x.tar", {"jpg/2.png": DOG, "deep/inner.zip": inner}).read_bytes()
    table = make_7z(tmp_path / "t.7z", {"train.csv": b"a,b\n"}).read_bytes()
    outer = make_7z(tmp_path / "outer.7z", {"set/train-jpg.tar": tar, "set/train.csv.7z": table, "top.zip": inner})
    result = unpack(outer)
    assert result.files == {
        "set/jpg/2.png": DOG,
        "set/deep/1.png": CAT,
        "set/train.csv": b"a,b\n",
        "1.png": CAT,
    }
    assert result.summary.archives == 5


def test_archives_too_deep_inside_each_other(tmp_path, unpack):
    data = make_zip(tmp_path / "0.zip", {"a.txt": b"a"}).read_bytes()
    for i in range(6):
        data = make_zip(tmp_path / "next.zip", {f"{i}.zip": data}).read_bytes()
    with pytest.raises(UserError, match="more than 5 deep"):
        unpack(tmp_path / "next.zip")


def test_a_folder_of_archives_images_links_and_junk(tmp_path, unpack):
    source = tmp_path / "raw"
    (source / "plain" / "cat").mkdir(parents=True)
    (source / "plain" / "cat" / "1.png").write_bytes(CAT)
    (source / "empty").mkdir()
    make_zip(source / "plain" / "more.zip", {"cat/2.png": CAT})
    (source / "labels.csv").write_bytes(b"x")
    (source / ".gitignore").write_bytes(b"/photos.7z")
    elsewhere = make_7z(tmp_path / "elsewhere.7z", {"dog/3.png": DOG})
    (source / "linked.7z").symlink_to(elsewhere)
    (tmp_path / "link").symlink_to(source)
    result = unpack(tmp_path / "link")
    assert result.files == {
        "plain/cat/1.png": CAT, "plain/cat/2.png": CAT, "labels.csv": b"x", "dog/3.png": DOG, "empty/": b"",
    }  # fmt: skip
    assert (result.summary.archives, result.summary.junk) == (2, 1)
    assert str(result.summary) == "4 files, 0.2 MB from 2 archives, 1 junk file skipped"


def test_parts_side_by_side_are_one_archive(tmp_path, unpack):
    data = make_7z(tmp_path / "whole.7z", FILES).read_bytes()
    source = tmp_path / "raw"
    source.mkdir()
    for number in range(3):
        (source / f"a.7z.{number + 1:03}").write_bytes(
            data[number * 200 : (number + 1) * 200 if number < 2 else None]
        )
    assert unpack(source).files == FILES
    assert unpack(source / "a.7z.001").files == FILES
    with pytest.raises(UserError, match=r"name .*a\.7z\.001"):
        unpack(source / "a.7z.002")
    (source / "a.7z.002").unlink()
    for wrong in (source, source / "a.7z.001"):
        with pytest.raises(UserError, match=r"a\.7z\.002 is missing"):
            unpack(wrong)


def test_junk_is_skipped_and_empty_folders_are_listed(tmp_path, unpack):
    junk = {"__MACOSX/a/._1.png": b"j", "a/.DS_Store": b"j", "a/Thumbs.db": b"j", "a/._1.png": b"j"}
    folders = [entry(name, tarfile.DIRTYPE) for name in ("a", "b", "b/c", "__MACOSX", "./")]
    result = unpack(make_tar(tmp_path / "a.tar", {"./a//1.png": CAT, **junk}, *folders))
    assert result.files == {"a/1.png": CAT, "b/c/": b""}
    assert result.rows[1]["sha256"] == ""
    assert result.summary.junk == 4


def test_links_to_files_of_the_tree_are_more_names_for_the_same_bytes(tmp_path, unpack):
    links = [
        entry("by/before.png", tarfile.SYMTYPE, "../through/1.png"),
        entry("through", tarfile.SYMTYPE, "set/cat"),
        entry("hard.png", tarfile.LNKTYPE, "set/cat/1.png"),
        entry("nowhere.png", tarfile.SYMTYPE, "set/none.png"),
        entry("loop", tarfile.SYMTYPE, "loop"),
    ]
    result = unpack(make_tar(tmp_path / "a.tar", FILES, *links))
    assert result.files == {**FILES, "by/before.png": CAT, "hard.png": CAT}
    assert result.summary.links_skipped == 3
    with tarfile.open(result.tar, "r:") as tar:
        assert tar.extractfile("by/before.png").read() == CAT


def zip_link(path: Path, name: str, target: str) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.png", CAT)
        info = zipfile.ZipInfo(name)
        info.create_system, info.external_attr = 3, 0o120777 << 16
        archive.writestr(info, target)
    return path


def test_links_in_a_zip(tmp_path, unpack):
    assert unpack(zip_link(tmp_path / "a.zip", "x/b.png", "../a.png")).files == {"a.png": CAT, "x/b.png": CAT}


@pytest.mark.parametrize("target", ["../../secret", "/etc/passwd", "C:\\secret", "x/../../../secret"])
def test_links_out_of_the_tree_are_refused(target, tmp_path, unpack):
    for source in (
        make_tar(tmp_path / "a.tar", FILES, entry("set/l.png", tarfile.SYMTYPE, target)),
        make_tar(tmp_path / "b.tar", FILES, entry("set/l.png", tarfile.LNKTYPE, target)),
        zip_link(tmp_path / "c.zip", "set/l.png", target),
    ):
        with pytest.raises(UserError, match=rf"{source.name}: set/l.png.*(outside|absolute|backslash)"):
            unpack(source)


HOSTILE_NAMES = ["../up.png", "a/../../up.png", "/abs.png", "C:/abs.png", "//server/x", "a\x07.png"]


@pytest.mark.parametrize("name", [*HOSTILE_NAMES, "a\\..\\..\\up.png", "\\\\server\\x", "a\0.png"])
def test_names_that_lead_out_are_refused(name, tmp_path, unpack):
    archives = [make_zip(tmp_path / "a.zip", {name.replace("\0", "#"): CAT})]
    if "\0" in name:  # zipfile does not write it, and in tar it ends the name
        archives[0].write_bytes(archives[0].read_bytes().replace(b"a#.png", name.encode()))
    else:
        archives.append(make_tar(tmp_path / "a.tar", {name: CAT}))
    for source in archives:
        with pytest.raises(UserError, match=rf"{source.name}: the name"):
            unpack(source)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["out", *(path.name for path in archives)])


def test_devices_are_refused(tmp_path, unpack):
    for kind in (tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE):
        with pytest.raises(UserError, match="holds 'dev/x', which is no file"):
            unpack(make_tar(tmp_path / "a.tar", FILES, entry("dev/x", kind)))


@pytest.mark.parametrize("again", ["a/1.png", "./a//1.png", "a/1.png/x.png"])
def test_a_name_that_repeats_or_is_also_a_folder_is_refused(again, tmp_path, unpack):
    source = tmp_path / "raw"
    source.mkdir()
    make_zip(source / "one.zip", {"a/1.png": CAT})
    make_tar(source / "two.tar", {again: DOG})
    with pytest.raises(UserError, match=r"a/1\.png has come out"):
        unpack(source)


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


def zip_crypto(data: bytes, password: bytes, checksum: int) -> bytes:
    """PKWARE's traditional encryption, as in section 6.1 of its APPNOTE."""
    crc = [*range(256)]
    for _ in range(8):
        crc = [c >> 1 ^ 0xEDB88320 if c & 1 else c >> 1 for c in crc]
    keys = [0x12345678, 0x23456789, 0x34567890]

    def update(byte: int) -> None:
        keys[0] = keys[0] >> 8 ^ crc[(keys[0] ^ byte) & 255]
        keys[1] = (keys[1] + (keys[0] & 255)) * 134775813 + 1 & 0xFFFFFFFF
        keys[2] = keys[2] >> 8 ^ crc[(keys[2] ^ keys[1] >> 24) & 255]

    for byte in password:
        update(byte)
    out = bytearray()
    for byte in bytes(11) + bytes([checksum >> 24]) + data:
        key = keys[2] & 0xFFFF | 2
        out.append(byte ^ (key * (key ^ 1) >> 8 & 255))
        update(byte)
    return bytes(out)


def test_encrypted_zips(tmp_path, unpack):
    data = bytearray(make_zip(tmp_path / "a.zip", {"1.png": zip_crypto(CAT, b"secret", 0)}, 0).read_bytes())
    crc = zipfile.crc32(CAT)
    secret = zip_crypto(CAT, b"secret", crc)
    local, central = data.index(b"PK\x03\x04"), data.index(b"PK\x01\x02")
    start = local + 30 + len("1.png")
    data[start : start + len(secret)] = secret
    for header, flags, sum_at, size_at in ((local, 6, 14, 22), (central, 8, 16, 24)):
        data[header + flags] |= 1
        data[header + sum_at : header + sum_at + 4] = crc.to_bytes(4, "little")
        data[header + size_at : header + size_at + 4] = len(CAT).to_bytes(4, "little")
    source = tmp_path / "crypto.zip"
    source.write_bytes(data)
    assert unpack(source, password="secret").files == {"1.png": CAT}
    with pytest.raises(UserError, match="is encrypted; set"):
        unpack(source)
    with pytest.raises(UserError, match="the password is wrong"):
        unpack(source, password="wrong")
    data[central + 10] = 99
    source.write_bytes(data)
    with pytest.raises(UserError, match=r"crypto\.zip uses AES encryption for '1\.png'"):
        unpack(source, password="secret")


@pytest.mark.parametrize("name", FORMATS)
def test_truncated_archives_are_refused(name, tmp_path, unpack):
    source = FORMATS[name](tmp_path / name, FILES)
    data = source.read_bytes()
    for length in (len(data) // 3, len(data) // 2, len(data) * 9 // 10):
        source.write_bytes(data[:length])
        with pytest.raises(UserError, match=rf"{name}.* (is damaged|is not an archive)"):
            unpack(source)


@pytest.mark.parametrize("name", FORMATS)
def test_damaged_archives_are_refused_or_harmless(name, tmp_path, unpack):
    """Where a changed byte is seen it is named; where it is not (padding, times), the files are right."""
    source = FORMATS[name](tmp_path / name, FILES)
    data = source.read_bytes()
    checked = name != "a.tar"  # a plain tar has no checksum over its data
    for at in range(0, len(data), max(1, len(data) // 25)):
        source.write_bytes(data[:at] + bytes([data[at] ^ 0x55]) + data[at + 1 :])
        try:
            result = unpack(source)
        except UserError as error:
            assert name in str(error)
            assert "Traceback" not in str(error)
        else:
            assert not checked or sorted(result.files.values()) == sorted(FILES.values())


def test_more_than_max_bytes_is_refused(tmp_path, unpack):
    bomb = bytes(10**7)
    inner = make_zip(tmp_path / "inner.zip", {"zeros": bomb}).read_bytes()
    for source in (
        make_7z(tmp_path / "a.7z", {"zeros": bomb}),
        make_zip(tmp_path / "a.zip", {"zeros": bomb}),
        make_tar(tmp_path / "a.tar", {"zeros": bomb}),
        make_tar(tmp_path / "a.tgz", {"zeros": bomb}, mode="w:gz"),
        make_zip(tmp_path / "outer.zip", {"inner.zip": inner}),
        make_tar(tmp_path / "junk.tgz", {"._zeros": bomb}, mode="w:gz"),
    ):
        with pytest.raises(UserError, match=r"max_bytes = 9,999,999"):
            unpack(source, max_bytes=10**7 - 1)
    (tmp_path / "a.gz").write_bytes(gzip.compress(bomb))
    with pytest.raises(UserError, match=r"max_bytes = 9,999,999"):
        unpack(tmp_path / "a.gz", max_bytes=10**7 - 1)
    assert unpack(tmp_path / "a.zip", max_bytes=10**7).summary.bytes == 10**7


def test_a_header_that_lies_about_the_size_is_refused(tmp_path, unpack):
    data = bytearray(make_zip(tmp_path / "a.zip", {"1.png": DOG}).read_bytes())
    for header, at in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        start = data.index(header) + at
        data[start : start + 4] = (10).to_bytes(4, "little")
    (tmp_path / "a.zip").write_bytes(data)
    with pytest.raises(UserError, match=r"a\.zip: 1\.png is damaged"):
        unpack(tmp_path / "a.zip", max_bytes=1000)


@pytest.mark.parametrize(("content", "reason"), [
    (b"", "is empty"),
    (b"Rar!\x1a\x07\x01\x00", "is a RAR archive"),
    (b"version https://git-lfs.github.com/spec/v1\n", "is a Git LFS pointer"),
    (b"<!DOCTYPE html>", "is a web page"),
    (b"path,label\n", "is not an archive"),
])  # fmt: skip
def test_what_is_no_archive_is_named(content, reason, tmp_path, unpack):
    (tmp_path / "a.7z").write_bytes(content)
    with pytest.raises(UserError, match=rf"a\.7z {reason}"):
        unpack(tmp_path / "a.7z")


def test_a_missing_source_says_what_is_there(tmp_path, unpack):
    (tmp_path / "photos.7z").write_bytes(b"")
    with pytest.raises(UserError, match=r"photo\.7z is not there; .* holds: photos\.7z"):
        unpack(tmp_path / "photo.7z")
    (tmp_path / "link").symlink_to(tmp_path / "gone.7z")
    with pytest.raises(UserError, match=r"is a link to .*gone\.7z, which is not there"):
        unpack(tmp_path / "link")
    with pytest.raises(UserError, match="holds the pipeline's own"):
        unpack(tmp_path)


def test_ppmd_is_refused_because_its_decoder_crashes(tmp_path, unpack):
    with pytest.raises(UserError, match=r"a\.7z uses the method PPMd, which cannot be read here"):
        unpack(make_7z(tmp_path / "a.7z", FILES, filters=[{"id": py7zr.FILTER_PPMD}]))


def test_an_archive_without_files_is_refused(tmp_path, unpack):
    with pytest.raises(UserError, match="holds no files"):
        unpack(make_tar(tmp_path / "a.tar", {}, entry("cat", tarfile.DIRTYPE)))


def test_a_failed_run_keeps_the_files_of_an_earlier_one(tmp_path, unpack):
    first = unpack(make_zip(tmp_path / "a.zip", FILES))
    before = first.tar.read_bytes(), first.csv.read_bytes()
    with pytest.raises(UserError):
        unpack(make_zip(tmp_path / "b.zip", {"ok.png": CAT, "../up": CAT}))
    assert (first.tar.read_bytes(), first.csv.read_bytes()) == before


PEAK = """
import resource, sys
from pathlib import Path
import py7zr.compressor
from unfreeze.data.archive import extract
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
extract(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[2] + ".csv"), 10**9)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.parametrize("name", ["a.7z", "a.zip", "a.tar", "a.tgz"])
def test_memory_does_not_grow_with_the_archive(name, tmp_path):
    """In KiB: 10 MB that do not compress and a file of 100 MB that does take less than 6 MB."""
    make = partial(make_7z, filters=[{"id": py7zr.FILTER_LZMA2, "preset": 0}]) if name == "a.7z" else FORMATS[name]
    files = {f"{i}.jpg": os.urandom(100_000) for i in range(100)} | {"big.bmp": bytes(10**8)}
    command = [sys.executable, "-c", PEAK, str(make(tmp_path / name, files)), str(tmp_path / "out.tar")]
    assert int(subprocess.run(command, check=True, capture_output=True, text=True).stdout) < 6_000


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
