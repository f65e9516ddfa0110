"""What every format's reader yields, and how a reader says that it cannot go on."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from unfreeze.core.console import UserError
from unfreeze.core.files import require_space
from unfreeze.core.system_errors import explain_system_error

CHUNK = 1 << 16
"""Bytes asked of a decoder at once."""
PACKED_CHUNK = 1 << 12
"""Bytes given to a decoder that does not bound what it returns: 4 KiB of zstd can become 128 MiB."""
MAX_TARGET = 4096
"""Bytes of a link's target."""

NO_PASSWORD = "is encrypted; set the environment variable UNFREEZE_ARCHIVE_PASSWORD"
WRONG_PASSWORD = "cannot be decrypted: the password is wrong, or it is damaged"
REPACK = "which cannot be read here; repack it as .7z with LZMA2"
SPECIAL = "which is no file, folder or link; such archives are refused"

Kind = Literal["file", "folder", "link", "hard link"]


class Refused(Exception):
    """What an archive is, has or does that cannot be accepted. The message lacks the archive's name in front."""


class Damaged(Exception):
    """Data that contradict themselves."""


@dataclass(frozen=True)
class Member:
    """One member of an archive. Read its `chunks` to their end, or not at all, before you ask for the next one."""

    name: str
    """As the archive has it: not to be trusted."""
    kind: Kind = "file"
    size: int | None = 0
    """In bytes; None where the format does not say."""
    chunks: Iterable[bytes] = ()
    target: str | None = None
    """Of a link, as the archive has it; None where the link's content is its target."""
    encrypted: bool = False
    stream: int | None = None
    """Of the compressed stream that it shares with other members; None: it can be read without them."""
    start: int = 0
    """Bytes of the stream that are decoded before it."""


class Budget:
    """Counts decoded bytes, for the limit and for the progress bar.

    Args:
        limit: how many bytes are allowed.
        name: what the limit is called in messages.
        bar: the progress bar, a tqdm.
        target: the file that the bytes will be written to.
    """

    def __init__(self, limit: int, name: str, bar: Any, target: Path):
        self.limit = limit
        self.name = name
        self.spent = 0
        self.bar = bar
        self.target = target

    def check(self, size: int) -> None:
        """Raise Refused if `size` more bytes, which headers announce, are too many."""
        if self.spent + size > self.limit:
            raise Refused(
                f"holds more than {self.name} = {self.limit:,} bytes allow "
                f"(at least {self.spent + size:,} in all); raise it if you trust the archive"
            )

    def announce(self, size: int) -> None:
        """Check `size` bytes that headers announce, and add them to the progress bar's total.

        Raises:
            Refused: they are too many.
            UserError: the disk has no room for them.
        """
        self.check(size)
        require_space(self.target, size, "the archive's files")
        self.bar.total += size

    def spend(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """Pass `chunks` on and count them, because headers lie."""
        for chunk in chunks:
            self.check(len(chunk))
            self.spent += len(chunk)
            self.bar.update(len(chunk))
            yield chunk


def guard(items: Iterable[Any], where: str, encrypted: bool = False) -> Iterator[Any]:
    """Yield `items`; turn whatever a decoder raises over hostile bytes into a UserError that names the archive.

    Args:
        where: the archive, and its member if `items` are a member's bytes.
        encrypted: whether a wrong password may be the reason.
    """
    iterator = iter(items)
    while True:
        try:
            item = next(iterator)
        except StopIteration:
            return
        except UserError:
            raise
        except Refused as error:
            raise UserError(f"{where} {error}") from error
        except Exception as error:
            if reason := explain_system_error(error):
                raise UserError(f"{where} cannot be read ({reason})") from error
            detail = str(error) if isinstance(error, Damaged) else f"{type(error).__name__}: {error}".rstrip(": ")
            raise UserError(f"{where} {WRONG_PASSWORD if encrypted else 'is damaged'} ({detail})") from error
        yield item


def read_target(chunks: Iterable[bytes], label: str) -> str:
    """Read the target of a link from the link's content, where .7z and .zip keep it."""
    target = b""
    for chunk in chunks:
        target += chunk
        if len(target) > MAX_TARGET:
            raise UserError(f"{label} is damaged: a link to a name of more than {MAX_TARGET} bytes")
    return target.decode(errors="surrogateescape")
