"""What a stage shows while it runs: progress, one summary line, and errors without a traceback."""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from tqdm import tqdm


class UserError(Exception):
    """Something the user can mend: the message names the file or key and says what to do."""


class _Lines:
    """A stream for tqdm that turns its carriage returns into plain lines, for logs and CI."""

    def write(self, text: str) -> None:
        if text.strip():
            sys.stderr.write(text.strip() + "\n")

    def flush(self) -> None:
        sys.stderr.flush()


def progress(total: int, what: str, unit: str = "img") -> tqdm:
    """A tqdm bar with rate and time left; one plain line every 10 s where stderr is no terminal."""
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
    """Run a stage's `main`, print the summary line it returns, and end with a clear message on a user's error."""
    started = time.perf_counter()
    _end_with_dvc(stage)
    try:
        summary = main()
    except UserError as error:
        sys.exit(f"{stage}: {error}")
    except KeyboardInterrupt:
        sys.exit(f"{stage}: interrupted; nothing half-made is left, `dvc repro` goes on from here")
    print(f"{stage}: {summary} ({time.perf_counter() - started:.1f} s)", flush=True)


def _end_with_dvc(stage: str) -> None:
    """Whoever kills dvc alone leaves the stage that it started running: have it end as well, by SIGTERM."""
    if "DVC_STAGE" not in os.environ:  # started by hand
        return
    import psutil

    def starts_stages(process: psutil.Process) -> bool:
        try:
            words = [Path(word).name for word in process.cmdline()[:3]]
        except psutil.Error:
            return False
        # A Python that is not dvc may have imported it.
        return "dvc" in words or any(word.startswith("python") for word in words[:1])

    dvc = next(filter(starts_stages, psutil.Process().parents()), None)
    if dvc is None:
        sys.exit(f"{stage}: dvc, which started this stage, was killed before it began")

    def lives(process: psutil.Process) -> bool:
        try:
            return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False

    def watch() -> None:
        while lives(dvc):
            time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()
