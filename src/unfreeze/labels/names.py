"""Labels from the names of image files: `cat.0.jpg`, `great_pyrenees_12.jpg`."""

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from functools import cache

from unfreeze.core.console import UserError, few
from unfreeze.labels.label import Label, Reading
from unfreeze.labels.layout import name_split, read_layout
from unfreeze.labels.params import SplitParams

PATTERNS = {
    r"(?P<label>[^/]*?[^/\d])[ ._-]*\(?\d+\)?\.[^/.]+$": "before a number",
    r"(?:^|/)\d+[ ._-]+(?P<label>[^/\d][^/]*?)\.[^/.]+$": "after a number",
    r"(?:^|/)\d+[ ._-]+(?P<label>[^/\d][^/]*?)[ ._-]+\(?\d+\)?\.[^/.]+$": "between two numbers",
}
"""Of paths, as `split.pattern`; and where in a file name the label stands."""
MOST_EXAMPLES = 10_000
"""Images that a pattern is tried on."""


def find_pattern(paths: Sequence[str]) -> str | None:
    """Return the one of PATTERNS that gives labels to nearly all names; None if none or several do.

    A name's label is one if nearly all images share theirs with others.
    """
    some = paths[:: max(1, len(paths) // MOST_EXAMPLES)]
    fitting = []
    for pattern in PATTERNS:
        matches = [match for path in some if (match := re.search(pattern, path))]
        labels = Counter(match["label"].rstrip(" ._-").lower() for match in matches)
        shared = sum(count for count in labels.values() if count > 1)
        if len(labels) > 1 and len(matches) >= 0.95 * len(some) and shared >= 0.9 * len(matches):
            fitting.append(pattern)
    return fitting[0] if len(fitting) == 1 else None


def label_by_names(paths: Sequence[str], params: SplitParams) -> Reading:
    """Label each image by `split.pattern`. Split folders, and a group `split` of the pattern, give splits.

    Test images that the pattern does not fit are predicted only.

    Raises:
        UserError: no usual pattern fits, or an image outside of test has no label.
    """
    layout = read_layout(paths, params)
    splits = [layout.read(path)[0] for path in paths]
    named = [path for path, split in zip(paths, splits, strict=True) if split in (None, "train", "valid")]
    pattern = find_pattern(named) if params.pattern == "auto" else params.pattern
    if pattern is None:
        raise UserError(
            f"split.pattern = auto: no usual pattern, or several, give labels to file names such as {few(paths)}. "
            "Write a regular expression, such as split.pattern: '(?P<label>[a-z]+)_\\d+'"
        )
    search = re.compile(pattern).search
    labels, without = [], []
    for path, split in zip(paths, splits, strict=True):
        match = search(path)
        groups = match.groupdict() if match else {}
        label = (groups.get("label") or "").strip(" ._-")
        if groups.get("split"):
            word = groups["split"]
            split = params.folders.get(word) or name_split(word)
            if split is None or split == "class":
                raise UserError(
                    f"{path}: split.pattern takes {word!r} for a split; say which: "
                    f"split.folders: {{{word}: train}}"
                )
        if split in ("predict", "out") or (not label and split == "test"):
            labels.append(Label("", "test" if split != "out" else "out"))
            continue
        if not label:
            without.append(path)
        labels.append(_make_label(label, split, groups.get("group") or ""))
    if without:
        raise UserError(f"split.pattern = {pattern} gives no label to {len(without):,} images: {few(without)}")
    example = next((i for i, label in enumerate(labels) if label.label), 0)
    where = f"the part of a file name {PATTERNS[pattern]}" if pattern in PATTERNS else f"what {pattern} finds"
    fact = f"the label is {where}, such as {labels[example].label} in {paths[example]} (split.pattern)"
    return Reading("file names", labels, [fact, *layout.describe()])


@cache
def _make_label(label: str, split: str | None, group: str) -> Label:
    """Return one and the same object for all images of a class: a million images take little memory."""
    return Label(unicodedata.normalize("NFC", label), split, group)
