"""Names of classes: composed, merged where the user says so, and never nearly equal."""

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from difflib import get_close_matches
from sys import intern

from unfreeze.core.console import UserError
from unfreeze.labels.label import Label
from unfreeze.labels.params import SplitParams
from unfreeze.task.base import Task


def merge_classes(labels: Sequence[Label], params: SplitParams, task: type[Task]) -> list[Label]:
    """Return the labels with names in composed Unicode, and the classes of `split.merge` under their new names.

    Raises:
        UserError: `split.merge` names a class that there is not, or names differ in case or white space alone.
    """
    counts = Counter(label.label for label in labels if label.label)
    images: Counter[str] = Counter()
    for text, count in counts.items():
        images.update(dict.fromkeys(map(_compose, task.names(text)), count))
    for name in params.merge:
        if name not in images:
            close = get_close_matches(name, list(images), n=1)
            hint = f" (did you mean {close[0]}?)" if close else ""
            raise UserError(f"split.merge: there is no class {name!r}{hint}")
    new = {
        text: intern(task.join(params.merge.get(name, name) for name in map(_compose, task.names(text))))
        for text in counts
    }
    _check_alike(images, params)
    if all(text == renamed for text, renamed in new.items()):
        return list(labels)
    changed = {label: replace(label, label=new[label.label]) for label in set(labels) if label.label}
    return [changed.get(label, label) for label in labels]


def _compose(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _check_alike(images: Counter[str], params: SplitParams) -> None:
    alike = defaultdict(list)
    for name in sorted(images):
        if name not in params.merge:
            alike[" ".join(name.casefold().split())].append(name)
    rivals = [names for names in alike.values() if len(names) > 1]
    if not rivals:
        return
    merge = {}
    for names in rivals:
        kept = max(names, key=lambda name: images[name])
        merge |= {name: kept for name in names if name != kept}
    shown = "; ".join(" and ".join(f"{name!r} ({images[name]:,})" for name in names) for names in rivals[:5])
    pairs = ", ".join(f'"{name}": "{kept}"' for name, kept in list(merge.items())[:10])
    raise UserError(
        f"classes differ in case or white space alone: {shown}. If they are the same, set "
        f"split.merge: {{{pairs}}}; else rename them"
    )
