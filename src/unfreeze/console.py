"""What a stage shows while it runs: progress, one summary line, and errors without a traceback."""

import logging
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
    """Run a stage's `main`, print the summary line it returns, and end with a clear message on a user's error."""
    started = time.perf_counter()
    _end_with_starter(stage)
    if first_rank():
        logging.basicConfig(format=f"{stage}: %(message)s")
        logging.getLogger("unfreeze").setLevel(logging.INFO)
    try:
        summary = main()
    except UserError as error:
        # All ranks find the same fault, at the latest where they read the same files: one of each machine says it.
        sys.exit(f"{stage}: {error}" if os.environ.get("LOCAL_RANK", "0") == "0" else 1)
    except KeyboardInterrupt:
        said = f"{stage}: interrupted; nothing half-made is left, `dvc repro` goes on from here"
        sys.exit(said if first_rank() else 1)
    if first_rank():
        print(f"{stage}: {summary} ({time.perf_counter() - started:.1f} s)", flush=True)


def first_rank() -> bool:
    """Whether this process is the only one, or of several ranks the first one, which talks and writes.

    Read from what torchrun, srun and Fabric tell the processes that they start.
    """
    return all(os.environ.get(name, "0") == "0" for name in ("RANK", "LOCAL_RANK", "SLURM_PROCID"))


def _end_with_starter(stage: str) -> None:
    """Whoever kills dvc alone leaves the stage that it started running: have it end as well, by SIGTERM.

    One of several ranks ends with the process that started it, at once: the others are lost to it.
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
        sys.exit(f"{stage}: what started this stage was killed before it began")

    def lives(process: psutil.Process) -> bool:
        try:
            return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False

    def watch() -> None:
        while lives(starter):
            time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGKILL if rank else signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()
