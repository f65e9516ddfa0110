"""Names of classes that are nearly equal."""

import pytest
from label_files import split_params

from unfreeze.core.console import UserError
from unfreeze.labels.classes import merge_classes
from unfreeze.labels.label import Label
from unfreeze.task.kinds import TASKS


def merge(texts, kind="single", **changes):
    labels = [Label(text, None) for text in texts]
    return [label.label for label in merge_classes(labels, split_params(kind=kind, **changes), TASKS[kind])]


def test_case_and_white_space_alone_stop_with_the_key_that_merges():
    with pytest.raises(UserError, match=r'\'Dog\' \(1\) and \'dog\' \(2\).*split\.merge: \{"Dog": "dog"\}'):
        merge(["dog", "Dog", "dog", "cat"])
    with pytest.raises(UserError, match=r"split\.merge"):
        merge(["great dane", "great  dane", "cat"])
    assert merge(["dog", "Dog", "cat"], merge={"Dog": "dog"}) == ["dog", "dog", "cat"]


def test_composition_is_no_difference():
    assert merge(["u\u0308", "\u00fc", ""]) == ["\u00fc", "\u00fc", ""]


def test_labels_of_several_classes_are_merged_one_by_one():
    assert merge(["Sea sky", "-", "sea"], "multi", merge={"Sea": "sea"}) == ["sea sky", "-", "sea"]


def test_a_class_that_is_not_there_is_an_error():
    with pytest.raises(UserError, match=r"split\.merge: there is no class 'catt' \(did you mean cat\?\)"):
        merge(["cat", "dog"], merge={"catt": "dog"})
