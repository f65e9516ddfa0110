"""The galleries: images drawn at random, the best and the worst of each class, and the most uncertain ones."""

from collections.abc import Callable
from typing import Any

import numpy as np

from unfreeze.report import galleries
from unfreeze.report.album import Album
from unfreeze.report.captions import caption_class, caption_labels
from unfreeze.task.multi import Multi
from unfreeze.task.predictions import Predictions
from unfreeze.task.single import Single

MOST_BYTES = 3_500_000
"""Of the pictures, so that the page stays below 8 MB."""

Picture = dict[str, Any]


def build(shown: Predictions, album: Album, count: int, seed: int) -> dict[str, Any]:
    """Build the galleries of labelled predictions, of at most `count` images each."""
    return _SECTIONS[shown.task.kind](shown, album, count).build(seed)


class _Galleries:
    """What galleries of both tasks share.

    Args:
        caption: returns what is said below image i.
    """

    def __init__(
        self,
        shown: Predictions,
        album: Album,
        count: int,
        caption: Callable[[Predictions, int], dict[str, Any]],
    ) -> None:
        self.shown, self.album, self.count = shown, album, count
        self._caption = caption

    def pictures(self, positions: np.ndarray) -> list[Picture]:
        """Return the images at `positions` with their captions."""
        captions = [self._caption(self.shown, int(i)) for i in positions]
        return [{"uri": self.album.uri(caption["row"]), **caption} for caption in captions]

    def common(self, actual: np.ndarray, predicted: np.ndarray, seed: int) -> dict[str, list[Picture]]:
        """Return the galleries that do not go by class. An image is right where `actual` is `predicted`."""
        return {
            "correct": self.pictures(galleries.sample_correct(actual, predicted, self.count, seed)),
            "incorrect": self.pictures(galleries.sample_incorrect(actual, predicted, self.count, seed)),
            "uncertain": self.pictures(galleries.rank_uncertain(self.shown.uncertainty, self.count)),
        }

    def group(self, index: int, images: int, mistakes: int, pictures: list[Picture]) -> dict[str, Any]:
        """Return the gallery of a class with its numbers."""
        name = self.shown.classes[index]
        return {"name": name, "images": images, "mistakes": mistakes, "pictures": pictures}


class _SingleGalleries(_Galleries):
    """Galleries where an image has one class."""

    def __init__(self, shown: Predictions, album: Album, count: int) -> None:
        super().__init__(shown, album, count, caption_class)
        self._order = galleries.rank_classes(shown.actual, shown.predicted, len(shown.classes))

    def build(self, seed: int) -> dict[str, Any]:
        common = self.common(self.shown.actual, self.shown.predicted, seed)
        room = MOST_BYTES - sum(map(_count_bytes, common.values()))
        most_incorrect = self._by_class(galleries.rank_incorrect, room // 2)
        room -= sum(_count_bytes(group["pictures"]) for group in most_incorrect)
        return {
            **common,
            "most_correct": self._by_class(galleries.rank_correct, room),
            "most_incorrect": [group for group in most_incorrect if group["pictures"]],
            "class_count": len(self._order),
            "flawless": [self.shown.classes[index] for index, _, mistakes in self._order if not mistakes],
        }

    def _by_class(self, rank: Callable[..., np.ndarray], room: int) -> list[dict[str, Any]]:
        """Return a gallery of each class, most mistakes first, as long as there is room for its bytes."""
        shown, groups = self.shown, []
        for index, images, mistakes in self._order:
            positions = rank(shown.probabilities, shown.actual, shown.predicted, index=index, count=self.count)
            pictures = self.pictures(positions)
            room -= _count_bytes(pictures)
            if room < 0:
                break
            groups.append(self.group(index, images, mistakes, pictures))
        return groups


class _MultiGalleries(_Galleries):
    """Galleries where an image has any number of labels."""

    def __init__(self, shown: Predictions, album: Album, count: int) -> None:
        super().__init__(shown, album, count, caption_labels)
        self._order = galleries.rank_labels(shown.actual, shown.predicted)

    def build(self, seed: int) -> dict[str, Any]:
        right = (galleries.count_mistakes(self.shown) == 0).astype(int)
        common = self.common(np.ones_like(right), right, seed)
        room = (MOST_BYTES - sum(map(_count_bytes, common.values()))) // 3
        return {
            **common,
            "by_label": [
                {
                    "title": "Most right of each label",
                    "note": "They have the label and get it, the surest first.",
                    **self._by_label(True, True, room),
                },
                {
                    "title": "Most missed of each label",
                    "note": "They have the label: its lowest probabilities.",
                    **self._by_label(True, False, room),
                },
                {
                    "title": "Most wrongly given of each label",
                    "note": "They have not the label and get it: its highest probabilities.",
                    **self._by_label(False, True, room),
                },
            ],
        }

    def _by_label(self, has: bool, gets: bool, room: int) -> dict[str, Any]:
        """Return a gallery of each label, as many as there is room for, and how many there are in all."""
        groups, total = [], 0
        for index, images, mistakes in self._order:
            positions = galleries.rank_by_label(self.shown, index, has=has, gets=gets, count=self.count)
            total += len(positions) > 0
            pictures = self.pictures(positions) if room > 0 else []
            room -= _count_bytes(pictures)
            if pictures and room >= 0:
                groups.append(self.group(index, images, mistakes, pictures))
        return {"groups": groups, "total": total}


_SECTIONS = {Single.kind: _SingleGalleries, Multi.kind: _MultiGalleries}


def _count_bytes(pictures: list[Picture]) -> int:
    return sum(len(picture["uri"]) for picture in pictures)
