"""Takes a part of a source: `extract.only` and `extract.skip`."""

import posixpath
import re
import unicodedata
from dataclasses import dataclass
from difflib import SequenceMatcher
from heapq import nlargest
from typing import Literal

from unfreeze.archive.names import list_parents
from unfreeze.archive.tally import Tally
from unfreeze.core.console import UserError

TOKENS = re.compile(r"(\*\*/|/\*\*$|\*\*|\*|\?|\[!?\]?[^]]*\])")
MAX_EXAMPLES = 2000
"""Of the paths that a message about a pattern may name."""


Kind = Literal["file", "folder", "archive"]


@dataclass(frozen=True)
class ReadOptions:
    """What of a source is taken, and how names in zips are read: keys of `ExtractParams`."""

    only: tuple[str, ...] = ()
    skip: tuple[str, ...] = ()
    names: str = "auto"


TAKE_ALL = ReadOptions()


class Selection:
    """Tells what `extract.only` and `extract.skip` take. The rules stand at `ExtractParams.only`."""

    def __init__(self, only: tuple[str, ...] = (), skip: tuple[str, ...] = ()) -> None:
        self._only = _Patterns("extract.only", only)
        self._skip = _Patterns("extract.skip", skip)
        self._takes_all = not (only or skip)
        self._seen: dict[str, str] = {}
        self.left_out = Tally()

    def take(self, path: str, kind: Kind = "file", chosen: bool = False) -> bool:
        """Tell whether to take what is at `path`; count it if not.

        Args:
            kind: a link is a file. An archive that `extract.only` does not match may hold what it does.
            chosen: whether `extract.only` takes an archive that holds it.
        """
        if self._takes_all:
            return True
        is_folder = kind == "folder"
        self._note(path, is_folder)
        # Both are asked always: a pattern is at fault only if it matches nothing at all.
        skipped, wanted = self._skip.match(path, is_folder), self.chooses(path, is_folder)
        if not skipped and (wanted or chosen or kind == "archive"):
            return True
        self.left_out.add(path, is_folder)
        return False

    def chooses(self, path: str, is_folder: bool = False) -> bool:
        """Tell whether `extract.only` matches, or is empty."""
        return not self._only.patterns or self._only.match(path, is_folder)

    def note_junk(self, path: str, is_folder: bool) -> None:
        """Let a pattern of `extract.skip` that matches only hidden files and junk be no fault."""
        self._skip.match(path, is_folder)

    def _note(self, path: str, is_folder: bool) -> None:
        """Remember one of the paths that differ in numbers only, for messages."""
        if len(self._seen) < MAX_EXAMPLES:
            key = posixpath.join(posixpath.dirname(path), re.sub(r"\d+", "0", posixpath.basename(path)))
            self._seen.setdefault(f"{path}/" if is_folder else key, f"{path}/" if is_folder else path)

    def check_matched(self) -> None:
        """Check that every pattern matched something.

        Raises:
            UserError: it names the key, the pattern and the paths that are nearest to it.
        """
        for patterns in (self._only, self._skip):
            for pattern in patterns.unmatched:
                near = self._list_nearest(pattern)
                there = f"the nearest paths are: {', '.join(near)}" if near else "there are no paths"
                raise UserError(
                    f"{patterns.key}: {pattern!r} matches nothing; {there} (case counts; `*` stops at a slash, "
                    "`**` does not; a pattern with a slash starts at the top; hidden files and junk never come)"
                )

    def _list_nearest(self, pattern: str) -> list[str]:
        paths = set(self._seen.values())
        paths |= {f"{parent}/" for path in paths for parent in list_parents(path.rstrip("/"))}
        plain = pattern.strip("/").casefold()

        def score(path: str) -> float:
            text = path.strip("/").casefold()
            if "/" not in plain:
                text = posixpath.basename(text)
            return SequenceMatcher(None, plain, text, autojunk=False).ratio()

        return nlargest(3, sorted(paths), key=score)


class _Patterns:
    """The patterns of one key.

    Attributes:
        unmatched: those that have matched nothing so far.
    """

    def __init__(self, key: str, patterns: tuple[str, ...]) -> None:
        self.key = key
        self.patterns = patterns
        self.unmatched = {pattern: re.compile(translate(pattern), re.DOTALL) for pattern in patterns}
        self._any = re.compile("|".join(f"(?:{regex.pattern})" for regex in self.unmatched.values()), re.DOTALL)

    def match(self, path: str, is_folder: bool) -> bool:
        if not self.patterns:
            return False
        path = unicodedata.normalize("NFC", f"{path}/" if is_folder else path)
        for pattern in [pattern for pattern, regex in self.unmatched.items() if regex.fullmatch(path)]:
            del self.unmatched[pattern]
        return self._any.fullmatch(path) is not None


def check_pattern(pattern: str) -> str:
    """Return a pattern.

    Raises:
        ValueError: it has brackets that cannot be read.
    """
    try:
        re.compile(translate(pattern))
    except re.error as error:
        raise ValueError(f"is no pattern: {error}") from None
    return pattern


def translate(pattern: str) -> str:
    """Translate a pattern, as `ExtractParams.only` describes it, to a regular expression for a whole path.

    A folder's path has a slash at its end.
    """
    pattern = unicodedata.normalize("NFC", pattern)
    pattern = pattern[1:] if pattern.startswith("./") else pattern
    body = pattern.strip("/")
    regex = "".join(_translate_token(token) for token in TOKENS.split(body))
    start = "" if "/" in pattern.rstrip("/") else "(?:.*/)?"
    end = "/.*" if pattern.endswith("/") else "(?:/.*)?"
    # Brackets in the name of a file or folder need no escape.
    return f"{start}(?:{regex}|{re.escape(body)}){end}"


def _translate_token(token: str) -> str:
    if token == "**/":
        return "(?:.*/)?"
    if token == "/**":
        return "/.*"
    if token == "**":
        return ".*"
    if token in ("*", "?"):
        return "[^/]*" if token == "*" else "[^/]"
    inside = re.sub(r"([\\\[^&~|])", r"\\\1", token[1:-1].removeprefix("!"))
    if inside and token.startswith("[") and token.endswith("]"):
        return f"(?!/)[{'^' if token[1] == '!' else ''}{inside}]"
    return re.escape(token)
