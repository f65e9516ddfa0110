import json

import pytest

from unfreeze.commands.metrics import format_table, show_metrics
from unfreeze.core import paths


def test_one_line_a_split_and_method():
    metrics = {
        "valid": {
            "head": {"count": 1200, "accuracy": 0.5, "log_loss": 1.25, "roc_auc": None, "ece": 0.0, "f1": 0.25}
        },
        "test": {"tta": {"count": 3, "accuracy": 1.0, "log_loss": 0.0, "roc_auc": 1.0, "ece": 0.1, "f1": 1.0}},
    }
    assert format_table(metrics).splitlines() == [
        "split  predicted by      images  accuracy  log loss   ROC AUC       ECE        F1",
        "valid  head alone         1,200    0.5000    1.2500         -    0.0000    0.2500",
        "test   network, TTA           3    1.0000    0.0000    1.0000    0.1000    1.0000",
    ]


@pytest.mark.parametrize(("details", "told"), [({"epochs": 0}, True), ({"epochs": 2}, False), (None, False)])
def test_a_network_that_was_not_fine_tuned_is_not_called_so(tmp_path, monkeypatch, details, told):
    monkeypatch.chdir(tmp_path)
    for folder, content in ((paths.EVALUATE, {"test": {"plain": {"count": 3}}}), (paths.FINETUNE, details)):
        if content is not None:
            folder.mkdir(parents=True)
            (folder / "details.json").write_text(json.dumps(content))
    assert ("nothing was fine-tuned" in show_metrics()) == told


def test_several_labels():
    numbers = {"count": 3, "f2": 0.5, "map": None, "precision": 0.1, "subset_accuracy": 0.25, "log_loss": 0.2}
    assert format_table({"valid": {"prevalence": numbers}}).splitlines() == [
        "split  predicted by      images        F2       mAP  log loss all right",
        "valid  frequencies            3    0.5000         -    0.2000    0.2500",
    ]
