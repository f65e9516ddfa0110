"""What the operating system refuses becomes one line, and no half-made file stays."""

import errno
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from small_disk import mount_small_disk

from unfreeze.core import files, system_errors
from unfreeze.core.arrays import ArrayWriter, scratch
from unfreeze.core.arrays import write_rows as write_array_rows
from unfreeze.core.console import UserError
from unfreeze.core.files import copy_folder, replacing, require_space, write_text
from unfreeze.core.system_errors import explain_system_error, format_bytes, measure_free_space
from unfreeze.core.tables import write_rows


@pytest.fixture
def small_disk(tmp_path) -> Iterator[Path]:
    with mount_small_disk(tmp_path / "disk") as disk:
        yield disk


def write_array(path: Path) -> None:
    with ArrayWriter(path, (1000,), np.uint8) as writer:
        for _ in range(2000):
            writer.append(np.ones((1, 1000), np.uint8))


def write_weights(path: Path) -> None:
    with replacing(path) as temporary:
        save_file({"x": torch.zeros(10**6)}, temporary)


WRITERS = {
    "array": write_array,
    "text": lambda path: write_text(path, "x" * 2 * 10**6),
    "table": lambda path: write_rows(path, ["a"], (["x" * 1000] for _ in range(2000))),
    "weights": write_weights,
}


@pytest.mark.parametrize("kind", WRITERS)
def test_a_full_disk_is_named_and_the_old_file_stays(small_disk, kind):
    path = small_disk / "out.bin"
    path.write_text("old")
    with pytest.raises(OSError) as caught:
        WRITERS[kind](path)
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(path))
    assert [(file.name, file.read_text()) for file in small_disk.iterdir()] == [("out.bin", "old")]
    line = explain_system_error(caught.value)
    assert line.startswith(f"{path} ") and "1.0 MB are free" in line and "\n" not in line


def test_the_file_that_did_not_fit_is_named_where_closing_another_one_fails_too(small_disk):
    table, array = small_disk / "a.csv", small_disk / "a.npy"

    def write_rows_of(writer: ArrayWriter) -> Iterator[list[str]]:
        yield ["a" * 1000]  # stays in the buffer
        for _ in range(20):
            writer.append(np.ones((100, 1000), np.uint8))

    with pytest.raises(OSError) as caught, ArrayWriter(array, (1000,), np.uint8) as writer:
        write_rows(table, ["a"], write_rows_of(writer))
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(array))
    assert not list(small_disk.iterdir())


def test_rows_of_another_process_that_do_not_fit_are_named(small_disk):
    with pytest.raises(OSError) as caught, ArrayWriter(small_disk / "a.npy", (1000,), np.uint8) as writer:
        write_array_rows(writer.temporary, writer.start, 0, np.ones((2000, 1000), np.uint8))
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(small_disk / "a.npy"))
    assert not list(small_disk.iterdir())


def test_a_folder_that_does_not_fit_leaves_the_old_one(small_disk, tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    for name in ("a", "b"):
        (source / name).write_bytes(bytes(6 * 10**5))
    (small_disk / "copy").mkdir()
    (small_disk / "copy/old").write_text("old")
    with pytest.raises(OSError) as caught:
        copy_folder(source, small_disk / "copy")
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(small_disk / "copy/b"))
    assert [path.name for path in small_disk.rglob("*")] == ["copy", "old"]


def test_scratch_without_room_is_explained(small_disk, monkeypatch):
    monkeypatch.chdir(small_disk)
    with pytest.raises(OSError) as caught:
        scratch((2 * 10**6,), np.uint8)
    assert "disk is full" in explain_system_error(caught.value)
    assert not list(small_disk.iterdir())


def test_a_disk_that_takes_no_more_files_is_not_called_full(small_disk):
    with pytest.raises(OSError) as caught:
        for i in range(10):
            write_text(small_disk / str(i), "x")
    line = explain_system_error(caught.value)
    assert line.startswith(f"{caught.value.filename} ") and "as many files as it can" in line


def test_space_is_required_before_long_work(small_disk):
    require_space(small_disk / "a/b.npy", 10**6, "the images")
    with pytest.raises(UserError) as caught:
        require_space(small_disk / "a/b.npy", 3 * 10**9, "the images")
    message = str(caught.value)
    assert message.startswith(f"the images take 3.0 GB in {small_disk}/a/b.npy and 1.0 MB are free")


def test_a_read_only_disk(small_disk):
    write_text(small_disk / "a", "old")
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(OSError) as caught:
        write_text(small_disk / "a", "new")
    assert explain_system_error(caught.value) == f"{small_disk / 'a'} cannot be written: its disk is read-only"
    assert (small_disk / "a").read_text() == "old"


def fail_at_fsync(monkeypatch, number: int) -> None:
    def fail(descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(files.os, "fsync", fail)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_what_the_disk_did_not_take_does_not_appear(tmp_path, monkeypatch, number):
    """A network file system tells of a full disk only when it is asked whether all is written."""
    path = tmp_path / "a.txt"
    path.write_text("old")
    fail_at_fsync(monkeypatch, number)
    with pytest.raises(OSError) as caught:
        write_text(path, "new")
    assert caught.value.errno == number
    assert [file.name for file in tmp_path.iterdir()] == ["a.txt"] and path.read_text() == "old"
    assert explain_system_error(caught.value)


def test_the_first_error_is_told_where_nothing_can_be_removed_either(tmp_path, monkeypatch):
    def fail(self, missing_ok=False):
        raise OSError(errno.EIO, "gone", str(self))

    monkeypatch.setattr(Path, "unlink", fail)
    with pytest.raises(RuntimeError, match="first") as caught, replacing(tmp_path / "a"):
        raise RuntimeError("first")
    assert "could not be removed" in caught.value.__notes__[0]


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ENOSPC, "full"), ["disk is full"]),
        (OSError(errno.EROFS, "read-only", "x.npy"), ["x.npy", "read-only"]),
        (PermissionError(errno.EACCES, "denied", "x.npy"), ["x.npy", "permission"]),
        (PermissionError(errno.EPERM, "denied", b"x.npy"), ["x.npy", "permission"]),
        (FileNotFoundError(errno.ENOENT, "none", Path("x.npy")), ["x.npy", "is not there"]),
        (OSError(errno.EIO, "bad", "x.npy"), ["x.npy", "Input/output error"]),
        (OSError(errno.ENXIO, "bad", "x.npy"), ["x.npy", "disk does not answer"]),
        (OSError(errno.ESTALE, "bad", 7), ["disk does not answer"]),
        (OSError(errno.EMFILE, "many", "x.npy"), ["ulimit -n"]),
        (OSError(errno.ENOMEM, "memory"), ["too little memory"]),
        (MemoryError("an array of 9 GB"), ["too little memory", "an array of 9 GB", "B are free"]),
        (MemoryError(), ["too little memory"]),
        (torch.OutOfMemoryError("CUDA out of memory. Tried 9 GB\nmore"), ["too little memory", "Tried 9 GB"]),
        (RuntimeError("[alloc_cpu.cpp:127] . DefaultCPUAllocator: can't allocate memory"), ["too little memory"]),
    ],
)
def test_one_line_an_error(error, words):
    line = explain_system_error(error)
    assert "\n" not in line and all(word in line for word in words)


@pytest.mark.parametrize(
    "error",
    [
        OSError("damaged data"),
        OSError(errno.EINVAL, "invalid"),
        FileNotFoundError(errno.ENOENT, "none"),
        ConnectionResetError(errno.ECONNRESET, "reset"),
        RuntimeError("a bug"),
        ValueError("No space left on device"),
    ],
)
def test_other_errors_are_not_explained(error):
    assert explain_system_error(error) is None


def test_free_space_is_that_of_the_nearest_folder(tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    asked = []
    monkeypatch.setattr(system_errors.shutil, "disk_usage", lambda path: asked.append(path) or usage)
    assert measure_free_space(tmp_path / "a/b/c") == usage.free
    assert asked == [tmp_path]
    monkeypatch.setattr(system_errors.shutil, "disk_usage", lambda path: usage._replace(total=0, free=0))
    assert measure_free_space(tmp_path) is None
    require_space(tmp_path, 10**18, "the images")  # not refused where the system does not tell


@pytest.mark.parametrize(("number", "text"), [(0, "0.0 MB"), (312_000, "0.3 MB"), (196_600_000_000, "196.6 GB")])
def test_bytes_as_text(number, text):
    assert format_bytes(number) == text


def test_an_error_of_safetensors_has_the_system_s_number(tmp_path):
    """`read_error_number` reads them from the text."""
    with pytest.raises(Exception, match=r"\(os error 2\)") as caught:
        save_file({"x": torch.zeros(1)}, tmp_path / "none" / "x.safetensors")
    assert system_errors.read_error_number(caught.value) == errno.ENOENT
