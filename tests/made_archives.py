"""Archives for tests, and the files in them."""

import io
import tarfile
import zipfile
from pathlib import Path

import py7zr
from backports import zstd

CAT, DOG = b"\x89PNG cat", bytes(range(256)) * 700
FILES = {"set/cat/1.png": CAT, "set/dog/Größe 1.png": DOG, "labels.csv": b"name,label\n"}
LONG = "/".join(["a" * 90] * 4) + "/" + "ö" * 100 + ".png"


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


def zip_link(path: Path, name: str, target: str) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.png", CAT)
        info = zipfile.ZipInfo(name)
        info.create_system, info.external_attr = 3, 0o120777 << 16
        archive.writestr(info, target)
    return path
