"""Runs a stage, and shows what it does: progress, one summary line, and errors without a traceback."""

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NoReturn

from tqdm import tqdm

from unfreeze.core.system_errors import explain_system_error

SOURCES = Path("src")
"""Where a project's folder holds the package."""


class UserError(Exception):
    """An error that the user can mend: the message names the file or key and says what to do."""


def few(names: Iterable[str]) -> str:
    """Return the first five names in order, and how many more there are."""
    names = sorted(names)
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


class _Lines:
    """A stream for tqdm that turns carriage returns into plain lines, for logs and CI."""

    def write(self, text: str) -> None:
        if text.strip():
            sys.stderr.write(text.strip() + "\n")

    def flush(self) -> None:
        sys.stderr.flush()


def progress(total: int, what: str, unit: str = "img") -> tqdm:
    """Return a tqdm bar with rate and time left; where stderr is no terminal, it is one plain line every 10 s."""
    if not first_rank():
        return tqdm(total=total, disable=True)
    if sys.stderr.isatty():
        return tqdm(total=total, desc=what, unit=unit, dynamic_ncols=True, leave=False)
    return tqdm(
        total=total,
        desc=what,
        unit=unit,
        file=_Lines(),
        ascii=True,
        ncols=80,
        mininterval=10,
        maxinterval=10,
        delay=10,
        leave=False,
    )


def run(stage: str, main: Callable[[], str]) -> None:
    """Run a stage's `main` and print the summary line that it returns.

    The process ends with one line and status 1 on an error that the user can mend (see `report_errors`), and if
    the stage would run other code than DVC records.
    """
    started = time.perf_counter()
    _refuse_other_code(stage)
    _end_with_dvc(stage)
    if first_rank():
        logging.basicConfig(format=f"{stage}: %(message)s")
        logging.getLogger("unfreeze").setLevel(logging.INFO)
    with report_errors(stage, status=1, hint=", `dvc repro` goes on from here"):
        summary = main()
        if first_rank():
            print(f"{stage}: {summary} ({time.perf_counter() - started:.1f} s)", flush=True)


@contextmanager
def report_errors(name: str, status: int, hint: str = "") -> Iterator[None]:
    """End the process with one line on stderr if the block meets an error that the user can mend.

    These are UserError and the system's errors that `explain_system_error` knows. Any other error passes.

    Args:
        name: the stage or command, with which the line begins.
        status: the exit status.
        hint: what the line says after an interruption.

    Raises:
        SystemExit: with `status`; with 130 after Ctrl-C; with 141, and without a line, if the reader of stdout or
            stderr, such as `head`, has closed the pipe.
    """
    try:
        yield
        sys.stdout.flush()  # here, where a full disk or a closed pipe is still reported
    except UserError as error:
        reason = str(error)
    except KeyboardInterrupt:
        reason, status = f"interrupted; nothing half-made is left{hint}", 130
    except BrokenPipeError:
        reason, status = "", 141
    except Exception as error:
        reason = explain_system_error(error)
        if reason is None:
            raise
    else:
        return
    _end(f"{name}: {reason}" if reason else "", status)


def first_rank() -> bool:
    """Tell whether this process is the only one, or the first of several ranks, which alone prints and writes.

    torchrun, srun and Fabric tell the processes that they start by these variables.
    """
    return all(os.environ.get(name, "0") == "0" for name in ("RANK", "LOCAL_RANK", "SLURM_PROCID"))


def _end(line: str, status: int) -> NoReturn:
    """End with `status` and `line` on stderr. Of the ranks on one machine only the first prints it.

    All ranks meet the same fault, at the latest where they read the same files.
    """
    if line and os.environ.get("LOCAL_RANK", "0") == "0":
        with suppress(OSError):  # nobody reads it
            print(line, file=sys.stderr, flush=True)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:  # what it holds cannot be written; Python would try again at its end, and report that
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    raise SystemExit(status)


def _refuse_other_code(stage: str) -> None:
    """End unless the package comes from `src` of the current folder, whose hash dvc.lock records.

    An environment's editable install points at one clone. Without PYTHONPATH, a stage of a second clone, a git
    worktree or a folder of `dvc exp run --temp` would import that clone's code.
    """
    imported, recorded = Path(__file__).resolve().parents[2], SOURCES.resolve()
    if imported != recorded:
        _end(
            f"{stage}: python imports the package from {imported}, but DVC records the code in {recorded}: "
            "run `dvc repro` in the project's root, or set PYTHONPATH=src before python there",
            status=1,
        )


def _end_with_dvc(stage: str) -> None:
    """If the parent dvc process dies, end this stage by SIGTERM.

    One of several ranks ends at once with the process that started it: the other ranks cannot go on without it.
    """
    rank = "LOCAL_RANK" in os.environ
    if not rank and "DVC_STAGE" not in os.environ:  # started by hand
        return
    import psutil

    def starts_stages(process: psutil.Process) -> bool:
        try:
            words = [Path(word).name for word in process.cmdline()[:3]]
        except psutil.Error:
            return False
        # A Python that is not dvc may have imported it, or be the first rank, or torchrun.
        return "dvc" in words or any(word.startswith("python") for word in words[:1])

    starter = next(filter(starts_stages, psutil.Process().parents()), None)
    if starter is None:
        _end(f"{stage}: what started this stage was killed before it began", status=1)

    def is_alive(process: psutil.Process) -> bool:
        try:
            return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False

    def watch() -> None:
        while is_alive(starter):
            time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGKILL if rank else signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()
