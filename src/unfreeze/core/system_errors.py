"""The operating system's errors that a user can mend, each in one line: disks, permissions, memory, open files."""

import errno
import os
import re
import shutil
from pathlib import Path

FULL = (errno.ENOSPC, errno.EDQUOT)
"""The disk is full, or the user's quota on it is used up."""
VANISHED = (errno.EIO, errno.ENXIO, errno.ENODEV, errno.ESTALE)
"""The disk was pulled out, it fails, or its server is gone."""


def explain_system_error(error: BaseException) -> str | None:
    """Explain an error that the system, and not the code, is the reason of; None for any other error."""
    number = read_error_number(error)
    name = getattr(error, "filename", None)
    name = os.fsdecode(name) if isinstance(name, str | bytes | os.PathLike) else None
    subject = name or "a file"
    if number == errno.ENOMEM or _is_memory_error(error):
        return _explain_memory(error)
    if number in FULL:
        return _explain_full_disk(name)
    if number in VANISHED:
        return f"{subject}: its disk does not answer ({os.strerror(number)}); is it still there, and mounted?"
    if number == errno.EROFS:
        return f"{subject} cannot be written: its disk is read-only"
    if number in (errno.EACCES, errno.EPERM):
        return f"{subject}: this user has no permission ({os.strerror(number)}); change its owner or its mode"
    if number == errno.ENOENT and name:
        return f"{name} is not there; was it removed, or its disk?"
    if number in (errno.EMFILE, errno.ENFILE):
        return "the system allows no more open files: raise the limit (ulimit -n)"
    return None


def read_error_number(error: BaseException) -> int | None:
    """Read the system's number (see `errno`) of an error; None if it has none."""
    if isinstance(error, OSError):
        return error.errno
    match = re.search(r"\(os error (\d+)\)", str(error))  # as Rust says it, in which safetensors is written
    return int(match[1]) if match else None


def measure_free_space(path: Path) -> int | None:
    """Measure the bytes free for this user where `path` is or will be; None if the system does not tell."""
    folder = next((place for place in (path, *path.absolute().parents) if place.is_dir()), Path("/"))
    try:
        usage = shutil.disk_usage(folder)
    except OSError:  # the disk has gone
        return None
    return usage.free if usage.total else None  # some network file systems say 0 of everything


def format_bytes(number: int) -> str:
    """Format a number of bytes: `1.5 GB`, `0.3 MB`."""
    return f"{number / 1e9:,.1f} GB" if number >= 1e9 else f"{number / 1e6:,.1f} MB"


def _explain_full_disk(name: str | None) -> str:
    free = measure_free_space(Path(name or "."))
    if not name or free is None:
        return "the disk is full: free some space, then run this again"
    if _lacks_inodes(Path(name).absolute().parent):
        return f"{name} cannot be made: its disk holds as many files as it can; remove some, then run this again"
    return f"{name} does not fit: its disk is full, {format_bytes(free)} are free; free some, then run this again"


def _lacks_inodes(folder: Path) -> bool:
    if not folder.is_dir():
        return False
    state = os.statvfs(folder)
    return state.f_files > 0 and state.f_favail == 0


def _is_memory_error(error: BaseException) -> bool:
    """Tell whether memory was refused, by Python and NumPy or by torch, for the CPU or for a GPU."""
    if isinstance(error, RuntimeError):
        return type(error).__name__ == "OutOfMemoryError" or "can't allocate memory" in str(error)
    return isinstance(error, MemoryError)


def _explain_memory(error: BaseException) -> str:
    import psutil

    detail = str(error).strip().partition("\n")[0][:200]
    free = format_bytes(psutil.virtual_memory().available)
    return f"there is too little memory, {free} are free" + (f" ({detail})" if detail else "")
