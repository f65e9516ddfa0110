import io
import os
import resource
import subprocess
import sys

import numpy as np
import pytest

from unfreeze.core import arrays
from unfreeze.core.arrays import ArrayWriter, blocks, open_array, scratch, span, write_rows
from unfreeze.core.console import UserError


def write(path, array, block=2):
    with ArrayWriter(path, array.shape[1:], array.dtype) as writer:
        for start in range(0, len(array), block):
            writer.append(array[start : start + block])
    return path


@pytest.mark.parametrize(
    "array",
    [
        np.arange(5 * 2 * 3, dtype=np.uint8).reshape(5, 2, 3),
        np.linspace(0, 1, 7, dtype=np.float32),
        np.zeros((0, 4, 4, 3), np.uint8),
        np.arange(12, dtype=np.int64).reshape(3, 4)[:, ::2],  # not contiguous
    ],
)
def test_file_has_the_bytes_of_np_save(tmp_path, array):
    expected = io.BytesIO()
    np.save(expected, np.ascontiguousarray(array))
    path = write(tmp_path / "new" / "a.npy", array)
    assert path.read_bytes() == expected.getvalue()
    opened = open_array(path)
    np.testing.assert_array_equal(opened, array)
    assert opened.dtype == array.dtype


def test_rows_that_others_wrote_move_up_where_some_before_them_are_left_out(tmp_path):
    array = np.arange(10 * 3, dtype=np.uint16).reshape(10, 3)
    with ArrayWriter(tmp_path / "a.npy", (3,), np.uint16) as writer:
        for first, kept in ((5, 5), (0, 2), (3, 1)):  # in any order, of those from 2 and from 4 on none
            write_rows(writer.temporary, writer.start, first, array[first : first + kept])
        for first, kept in ((0, 2), (3, 1), (5, 5)):
            writer.keep(first, kept)
        assert writer.rows == 8
    assert list(tmp_path.iterdir()) == [tmp_path / "a.npy"]
    expected = io.BytesIO()
    np.save(expected, array[[0, 1, 3, 5, 6, 7, 8, 9]])
    assert (tmp_path / "a.npy").read_bytes() == expected.getvalue()


def test_header_keeps_its_length_for_many_rows(tmp_path):
    path = write(tmp_path / "a.npy", np.arange(100_003, dtype=np.uint32), block=10_000)
    np.testing.assert_array_equal(np.load(path, allow_pickle=False), np.arange(100_003))


def test_blocks_of_another_shape_or_type_are_refused(tmp_path):
    with ArrayWriter(tmp_path / "a.npy", (2,), np.uint8) as writer:
        with pytest.raises(ValueError, match=r"uint8 \(2,\) expected"):
            writer.append(np.zeros((1, 3), np.uint8))
        with pytest.raises(ValueError, match="not float32"):
            writer.append(np.zeros((1, 2), np.float32))
        assert writer.rows == 0


def test_failure_leaves_the_old_file_and_nothing_else(tmp_path):
    path = write(tmp_path / "a.npy", np.ones((3, 2), np.uint8))
    before = path.read_bytes()
    with pytest.raises(ZeroDivisionError), ArrayWriter(path, (2,), np.uint8) as writer:
        writer.append(np.zeros((1, 2), np.uint8))
        _ = 1 / 0
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_full_disk_leaves_nothing(tmp_path):
    """A limit on the size of files stands for the disk; it must not bind this process, hence another one."""
    code = (
        "import numpy as np, resource, signal, sys; from pathlib import Path\n"
        "from unfreeze.core.arrays import ArrayWriter\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY))\n"
        "with ArrayWriter(Path(sys.argv[1]), (2,), np.uint8) as writer:\n"
        "    writer.append(np.zeros((50, 2), np.uint8))\n"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "a.npy"], capture_output=True, text=True)
    assert done.returncode == 1
    assert "OSError" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_disk_is_given_what_was_appended(tmp_path, monkeypatch):
    with ArrayWriter(tmp_path / "a.npy", (4,), np.uint8) as writer:
        writer.append(np.ones((3, 4), np.uint8))
        given, fsync = [], os.fsync

        def note(file):
            given.append(os.fstat(file).st_size)
            fsync(file)

        monkeypatch.setattr(os, "fsync", note)
        writer.sync()
        assert given == [writer.start + 12]


def test_opened_array_is_read_only_and_not_read(tmp_path):
    path = tmp_path / "big.npy"
    with ArrayWriter(path, (1024, 1024), np.uint8) as writer:
        for _ in range(128):
            writer.append(np.ones((1, 1024, 1024), np.uint8))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    array = open_array(path)
    assert array[100, 5, 5] == 1
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024  # KiB, of 128 MiB
    with pytest.raises(ValueError, match="read-only"):
        array[0] = 0


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[:40],
        lambda data: data[:-1],
        lambda data: data + b"\0",
        lambda data: b"PK\3\4" + data[4:],
        lambda data: data.replace(b"(3, 2)", b"(3, x)"),
        lambda data: data.replace(b"(3, 2)", b"(-3,2)"),
        lambda data: data.replace(b"(3, 2), }            ", b"(99999999999, 99999)}"),
    ],
)
def test_damaged_file_is_named(tmp_path, damage):
    path = write(tmp_path / "a.npy", np.ones((3, 2), np.uint8))
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(UserError, match=r"a\.npy is damaged .*run dvc repro"):
        open_array(path)


@pytest.mark.filterwarnings("ignore")  # NumPy's, about headers that Python 2 could have written
def test_every_broken_header_byte_is_a_clear_error_or_an_array(tmp_path):
    path = write(tmp_path / "a.npy", np.ones((3, 2), np.uint8))
    data = bytearray(path.read_bytes())
    refused = 0
    for position in range(0, 80, 2):
        for value in (0, 0x27, 0x28, 0x5C, 0x7B, 0xFF):
            path.write_bytes(data[:position] + bytes([value]) + data[position + 1 :])
            try:
                open_array(path)
            except UserError:
                refused += 1
    assert refused > 150


def test_pickled_objects_are_refused(tmp_path):
    np.save(tmp_path / "a.npy", np.array([{"a": 1}], object), allow_pickle=True)
    with pytest.raises(UserError, match="damaged"):
        open_array(tmp_path / "a.npy")


def test_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"none\.npy is missing; run dvc repro"):
        open_array(tmp_path / "none.npy")


@pytest.mark.parametrize("system", ["Linux", "macOS"])
def test_a_scratch_array_is_zeros_that_can_be_written_and_leaves_no_file(tmp_path, monkeypatch, system):
    monkeypatch.chdir(tmp_path)
    if system == "macOS":
        monkeypatch.delattr(os, "posix_fallocate")
    array = scratch((3, 2), np.float64)
    assert (array.shape, array.dtype) == ((3, 2), np.float64) and not array.any()
    array += 1
    assert array.sum() == 6 and not list(tmp_path.iterdir())
    assert scratch((0, 5), np.float32).shape == (0, 5)


def test_a_scratch_array_that_the_disk_has_no_room_for_is_an_error_at_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, limits[1]))
    try:
        with pytest.raises(OSError):
            scratch((1 << 20, 2), np.uint8)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_consecutive_positions_take_no_copy():
    assert span(np.array([3, 4, 5])) == slice(3, 6)
    assert span(np.array([], dtype=np.int64)) == slice(0, 0)
    assert span(np.array([3, 5])).tolist() == [3, 5]


def test_blocks_are_all_rows_once(monkeypatch):
    monkeypatch.setattr(arrays, "BLOCK", 4)
    assert list(blocks(9)) == [slice(0, 4), slice(4, 8), slice(8, 9)]
    assert list(blocks(4)) == [slice(0, 4)] and list(blocks(0)) == [slice(0, 0)]
