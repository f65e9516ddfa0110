"""Counts of what is left out, with examples."""

import posixpath

MAX_EXAMPLES = 3


class Tally:
    """Counts paths.

    Attributes:
        files: how many files and links.
        folders: how many folders.
        examples: a few of the paths, each from another folder; of folders only if there are no files.
    """

    def __init__(self) -> None:
        self.files = self.folders = 0
        self.examples: list[str] = []

    def add(self, path: str, is_folder: bool = False) -> None:
        """Count a path."""
        if is_folder:
            self.folders += 1
        else:
            self.files += 1
        if is_folder and self.files:
            return
        if self.files == 1:
            self.examples.clear()  # of folders
        folders = [posixpath.dirname(example.rstrip("/")) for example in self.examples]
        if len(folders) < MAX_EXAMPLES and posixpath.dirname(path) not in folders:
            self.examples.append(f"{path}/" if is_folder else path)

    def describe(self, text: str, noun: str = "file") -> str:
        """Say how many there are, with the examples; nothing if there are none.

        Args:
            text: `{}` in it stands for the noun: `hidden {} skipped` -> `2 hidden files skipped (such as a/.b)`.
        """
        number, noun = (self.files, noun) if self.files else (self.folders, "folder")
        if not number:
            return ""
        # A name may hold what moves the cursor of a terminal.
        examples = ", ".join(example.replace("\r", "\\r") for example in self.examples)
        return f"{number:,} {text.format(noun if number == 1 else f'{noun}s')} (such as {examples})"
