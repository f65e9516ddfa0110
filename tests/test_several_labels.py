"""The whole chain where an image has any number of labels, by the stages themselves, in one process."""

import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from chain import run_stages
from PIL import Image

from unfreeze.commands.classifier import Classifier
from unfreeze.core import tables
from unfreeze.model.network import load_network
from unfreeze.task.split_table import read_split

LABELS = ["dark", "rare", "red"]


def png(i: int, labels: list[str]) -> bytes:
    """Grey noise that is darker if it is "dark" and reddish if it is "red"."""
    pixels = np.random.default_rng(i).integers(120, 256, (24, 24, 3))
    pixels[:, :, 1:] -= 100 * ("red" in labels)
    pixels //= 1 + 2 * ("dark" in labels)
    file = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(file, "png")
    return file.getvalue()


def make_archive(folder: Path) -> None:
    """36 images for training, of which two are rare, and 16 for validation; two more have no line in the table."""
    folder.mkdir(parents=True)
    lines = ["image,tags"]
    with zipfile.ZipFile(folder / "images.zip", "w") as archive:
        for i in range(54):
            labels = [name for bit, name in ((1, "dark"), (2, "red")) if i & bit]
            if i < 2:
                labels.append("rare")
            part = "train/" if i < 36 else "valid/" if i < 52 else ""
            archive.writestr(f"{part}{i:02}.png", png(i, labels))
            if i < 52:
                lines.append(f"{i:02},{' '.join(labels)}")
    (folder / "tags.csv").write_text("\n".join(lines) + "\n")


PARAMS = {
    "extract": {"source": "data/raw/noise"},
    "split": {"labels": "tags.csv", "kind": "multi", "test": 0, "folds": 2},
    "head": {"hidden": [], "dropout": [0.0]},
    "find_lr": {"steps": 20},
    "train_head": {"lr": 0.1, "cycles": 2, "cycle_len": 4, "cycle_mult": 1, "batch_size": 8, "balance": "loss"},
    "finetune": {"frozen_cycles": 1, "cycles": 1, "cycle_len": 1, "cycle_mult": 1, "batch_size": 12, "mixup": 0.2},
    "tta": {"views": 1, "thresholds": "per_label"},
    "report": {"per_gallery": 2},
}


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    folder = tmp_path_factory.mktemp("several")
    make_archive(folder / "data/raw/noise")
    said = run_stages(folder, PARAMS)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield folder, said


def test_the_chain_learns_them_and_says_so(project):
    folder, said = project
    metrics = json.loads((folder / "results/evaluate/details.json").read_text())
    assert {part: list(ways) for part, ways in metrics.items()} == {
        "valid": ["prevalence", "head", "plain", "tta"]
    }
    valid = metrics["valid"]
    assert valid["head"]["f2"] > valid["prevalence"]["f2"] + 0.1 and valid["head"]["map"] > 0.8
    assert said["train-head"].startswith(f"validation f2 {valid['head']['f2']:.4f}, log loss")
    assert "valid f2 of 16 images: prevalence" in said["tta-evaluate"]
    folds = json.loads((folder / "results/train_head/details.json").read_text())["cross_validation"]
    assert folds["folds"] == 2 and folds["f2"]["mean"] > 0.6
    epochs = tables.read(
        folder / "results/finetune/epochs.csv", {"phase": "text", "train_loss": "float", "valid_loss": "float"}
    )
    assert epochs["phase"].tolist() == ["frozen", "unfrozen"]
    assert np.isfinite(epochs[["train_loss", "valid_loss"]]).all(axis=None)
    assert (folder / "results/finetune/live/plots/metrics/valid/f2.tsv").is_file()


def test_what_has_no_label_is_predicted_and_judged_nowhere(project):
    folder, _ = project
    table = read_split(folder / "data/split.csv", 54)
    unlabelled = np.flatnonzero(np.isnan(table.targets).any(1))
    assert table.classes == LABELS and table.rows["test"].tolist() == unlabelled.tolist() and len(unlabelled) == 2
    predictions = tables.read(folder / "results/evaluate/predictions.csv", {"row": "int", "labels": "text"})
    assert predictions["labels"][predictions["row"].isin(unlabelled)].tolist() == ["", ""]
    assert "-" in predictions["labels"].tolist()  # known to have none
    probabilities = np.load(folder / "results/evaluate/probabilities.npy")
    assert probabilities.shape == (18, 3) and np.isfinite(probabilities).all()
    assert len(tables.read(folder / "results/train_head/out_of_fold.csv")) == 52
    assert np.load(folder / "results/train_head/out_of_fold.npy").shape == (52, 3)


def test_a_label_without_validation_images_has_the_common_threshold(project):
    folder, _ = project
    per_class = tables.read(folder / "results/evaluate/per_class.csv").set_index("class")
    assert per_class["support"]["rare"] == "0" and per_class["ap"]["rare"] == ""
    _, card = load_network(folder / "models/model.safetensors")
    assert len(set(card.thresholds["global"])) == 1
    assert card.thresholds["per_label"][LABELS.index("rare")] == card.thresholds["global"][0]
    _, best = load_network(folder / "models/best.safetensors")
    assert best.thresholds.keys() == {"global", "per_label"}


def test_the_page_says_that_the_thresholds_were_tuned_on_its_images(project):
    page = (project[0] / "results/report/index.html").read_text()
    assert "F2 on 16 validation images" in page and "the thresholds were tuned on them" in page


def test_predict_gives_the_labels_above_the_model_s_thresholds(project):
    folder, _ = project
    classifier = Classifier(folder / "models/model.safetensors")
    for p in classifier.predict(folder / "data/raw/noise/images.zip"):
        assert not p.error
        limits = dict(zip(LABELS, classifier.card.thresholds["global"], strict=True))
        assert p.labels == [name for name in LABELS if p.probabilities[name] >= limits[name]]
