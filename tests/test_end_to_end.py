"""The real `dvc repro`, on a cut of the sample and on real photographs."""

import csv
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from chain import read_rows
from small_project import SMALL, STAGES, copy_project, copy_run, dvc, ran, set_params


@pytest.fixture(scope="module")
def project(small_run, tmp_path_factory) -> Path:
    """The whole chain as it was run once on the cut of the sample, to be changed and put back."""
    return copy_run(small_run, tmp_path_factory.mktemp("project"))


def test_every_stage_runs_once_in_its_order(small_run):
    assert ran((small_run / "output.txt").read_text()) == list(STAGES)


def test_every_stage_says_what_it_made(project):
    metrics = json.loads((project / "results/evaluate/details.json").read_text())
    assert {part: set(methods) for part, methods in metrics.items()} == {
        "valid": {"head", "plain", "tta"},
        "test": {"head", "plain", "tta"},
    }
    assert metrics["test"]["head"]["accuracy"] > 0.6  # chance is 0.1
    folds = json.loads((project / "results/train_head/details.json").read_text())["cross_validation"]
    assert folds["folds"] == 3 and folds["accuracy"]["mean"] > 0.6

    split = read_rows(project / "data/split.csv")
    predictions = read_rows(project / "results/evaluate/predictions.csv")
    assert {p["row"] for p in predictions} == {s["row"] for s in split if s["split"] != "train"}
    assert all(p["label"] == s["label"] for p in predictions for s in split if s["row"] == p["row"])
    for method in ("", "_plain", "_head"):
        probabilities = np.load(project / f"results/evaluate/probabilities{method}.npy", mmap_mode="r")
        assert probabilities.shape == (len(predictions), 10) and probabilities.dtype == np.float32
        assert probabilities.sum(1) == pytest.approx(np.ones(len(predictions)), abs=1e-5)
    out_of_fold = read_rows(project / "results/train_head/out_of_fold.csv")
    assert {p["row"] for p in out_of_fold} == {s["row"] for s in split if s["split"] != "test"}
    assert np.load(project / "results/train_head/out_of_fold.npy").shape == (len(out_of_fold), 10)

    page = (project / "results/report/index.html").read_text()
    assert "no transfer took place" in page
    assert 'src="http' not in page and 'href="http' not in page
    assert (project / "models/best.safetensors").is_file()
    assert sorted(p.name for p in (project / "models/snapshots").iterdir()) == [
        "epoch_001.safetensors",
        "epochs.json",
    ]


def test_predictions_are_those_of_the_saved_model(project):
    """The model's one file, in another process, gives the plain view's accuracy again."""
    code = """
import json, numpy as np, torch
from pathlib import Path
from unfreeze.core.arrays import open_array
from unfreeze.task.split_table import read_split
from unfreeze.model.network import load_network
from unfreeze.views.images import Images
network, card = load_network(Path("models/model.safetensors"))
pixels = open_array(Path("data/images/pixels.npy"))
table = read_split(Path("data/split.csv"), len(pixels))
with torch.no_grad():
    logits = network(Images(pixels, card.size, torch.device("cpu")).plain(table.rows["test"]))
print((logits.argmax(1).numpy() == table.targets[table.rows["test"]]).mean())
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=project, capture_output=True, text=True, check=True)
    metrics = json.loads((project / "results/evaluate/details.json").read_text())
    assert float(done.stdout) == pytest.approx(metrics["test"]["plain"]["accuracy"], abs=0.04)  # 32 bits here


def test_nothing_runs_again_when_nothing_changed(project):
    assert ran(dvc(project, "repro")) == []


@pytest.mark.slow
def test_another_stored_size_is_decoded_again_and_not_taken_from_the_run_cache(project):
    before = (project / "data/images/pixels.npy").read_bytes()
    set_params(project, **SMALL, decode__image_size=34)
    assert ran(dvc(project, "repro", "decode")) == ["decode"]
    assert np.load(project / "data/images/pixels.npy").shape[1] == 34
    set_params(project, **SMALL)
    assert ran(dvc(project, "repro")) == []  # this time the run cache is right
    assert (project / "data/images/pixels.npy").read_bytes() == before


@pytest.mark.slow
def test_the_same_again_gives_the_same_bytes(project):
    lock = (project / "dvc.lock").read_text()
    metrics = (project / "results/evaluate/details.json").read_bytes()
    assert ran(dvc(project, "repro", "--force")) == list(STAGES)
    assert (project / "dvc.lock").read_text() == lock
    assert (project / "results/evaluate/details.json").read_bytes() == metrics


@pytest.mark.slow
def test_predicting_the_test_images_again_gives_their_rows(project):
    """From the model's one file and the archive, in another process, by the plain view."""
    command = [
        sys.executable,
        "-m",
        "unfreeze.predict",
        "models/model.safetensors",
        "data/raw/cut.7z",
        "--csv",
    ]
    command += ["--precision", "32"]  # as the stages of the small project
    environment = os.environ | {"PYTHONPATH": str(project / "src")}
    done = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=True)
    rows = {row["path"].removeprefix("data/raw/cut.7z/"): row for row in csv.DictReader(done.stdout.splitlines())}
    split = [row for row in read_rows(project / "data/split.csv") if row["split"] == "test"]
    right = np.mean([rows[row["path"]]["predicted"] == row["label"] for row in split])
    metrics = json.loads((project / "results/evaluate/details.json").read_text())
    assert right == pytest.approx(metrics["test"]["plain"]["accuracy"], rel=1e-5)
    set_params(project, **SMALL | {"tta__views": 0, "finetune__snapshots": 1})
    dvc(project, "repro", "tta-evaluate")
    predictions = read_rows(project / "results/evaluate/predictions.csv")
    probabilities = np.load(project / "results/evaluate/probabilities.npy")
    for row, p in zip(predictions, probabilities.tolist(), strict=True):
        if row["split"] == "test":
            again = [float(cell) for heading, cell in rows[row["path"]].items() if heading.startswith("p_")]
            assert again == pytest.approx(p, abs=2e-3)
    set_params(project, **SMALL)
    assert ran(dvc(project, "repro")) == []  # from the run cache


@pytest.mark.slow
def test_from_scratch_at_growing_sizes_without_features(project):
    """Params alone skip the feature stages, and the network finds its own rate."""
    set_params(
        project,
        **SMALL | {"split__folds": 0},
        model__stem="small",
        precompute__skip=True,
        augment__set="flip",
        augment__max_zoom=1,
        augment__pad=4,
        finetune__sizes=[16, 32],
        finetune__frozen_cycles=0,
        finetune__lr="auto",
        finetune__find_lr=30,
        finetune__schedule="one_cycle",
    )
    output = dvc(project, "repro")
    assert "precompute-features: skipped" in output and "train-head: skipped" in output
    assert np.load(project / "data/features/plain.npy").shape == (0, 1024)
    tuning = json.loads((project / "results/finetune/details.json").read_text())
    assert tuning["lr"] == tuning["minimum_tenth"] and tuning["epochs"] == 4
    assert json.loads((project / "results/train_head/details.json").read_text()) == {}
    metrics = json.loads((project / "results/evaluate/details.json").read_text())
    assert set(metrics["test"]) == {"plain", "tta"}
    assert np.load(project / "results/evaluate/probabilities_head.npy").shape == (0, 10)
    phases = [row["phase"] for row in read_rows(project / "results/finetune/epochs.csv")]
    assert phases == ["unfrozen 16"] * 2 + ["unfrozen 32"] * 2
    assert len(list((project / "models/snapshots").glob("*.safetensors"))) == 1
    page = (project / "results/report/index.html").read_text()
    assert "Learning-rate finder of the whole network" in page
    set_params(project, **SMALL)
    assert ran(dvc(project, "repro")) == []  # going back runs nothing


@pytest.mark.slow
def test_without_fine_tuning_the_head_on_the_frozen_backbone_is_the_model(project):
    set_params(project, **SMALL, finetune__skip=True)
    output = dvc(project, "repro")
    assert ran(output) == ["unfreeze-finetune", "tta-evaluate", "report"]
    assert "unfreeze-finetune: skipped (finetune.skip)" in output
    metrics = json.loads((project / "results/evaluate/details.json").read_text())
    assert set(metrics["test"]) == {"head", "plain", "tta"}
    for name, value in metrics["test"]["head"].items():  # the same model, on cached features and on images
        assert metrics["test"]["plain"][name] == pytest.approx(value, abs=1e-4)
    details = json.loads((project / "results/finetune/details.json").read_text())
    head = json.loads((project / "results/train_head/details.json").read_text())
    assert details["epochs"] == 0 and set(details) == {"epochs", "valid"}
    assert details["valid"]["accuracy"] == pytest.approx(head["valid"]["accuracy"], abs=1e-4)
    assert json.loads((project / "results/finetune/metrics.json").read_text()) == {}
    assert not read_rows(project / "results/finetune/epochs.csv")
    models = project / "models"
    assert (models / "best.safetensors").read_bytes() == (models / "model.safetensors").read_bytes()
    assert [path.name for path in (models / "snapshots").iterdir()] == ["epochs.json"]
    page = (project / "results/report/index.html").read_text()
    assert "nothing was fine-tuned" in page and "backbone frozen and unfrozen" not in page
    set_params(project, **SMALL)
    assert ran(dvc(project, "repro")) == []


@pytest.mark.slow
def test_cached_views_and_lr_auto_reach_the_head(project):
    set_params(project, **SMALL | {"precompute__views": 2, "train_head__lr": "auto"})
    dvc(project, "repro", "train-head")
    suggested = json.loads((project / "results/find_lr/details.json").read_text())["minimum_tenth"]
    used = json.loads((project / "results/train_head/details.json").read_text())["lr"]
    assert used == pytest.approx(suggested, rel=1e-5)
    views = [np.load(project / f"data/features/{name}.npy") for name in ("plain", "view_00", "view_01")]
    assert len({view.shape for view in views}) == 1 and not np.allclose(views[1], views[2])
    set_params(project, **SMALL)
    assert ran(dvc(project, "repro")) == []


@pytest.mark.slow
def test_going_back_runs_no_training_stage_again(project):
    other = SMALL | {"finetune__frozen_cycles": 0, "finetune__cycles": 1, "finetune__snapshots": 1}
    other |= {"find_lr__steps": 30, "train_head__lr": 0.03}
    set_params(project, **other)
    stages = ["find-lr", "train-head", "unfreeze-finetune"]
    assert ran(dvc(project, "repro", stages[-1])) == stages
    for params in (SMALL, other, SMALL):
        set_params(project, **params)
        assert ran(dvc(project, "repro", stages[-1])) == []
    assert ran(dvc(project, "repro")) == []


@pytest.mark.slow
def test_dvc_killed_alone_takes_its_stage_along_and_the_next_repro_goes_on(project):
    set_params(project, **SMALL, finetune__lr=0.019)
    environment = os.environ | {"PYTHONPATH": str(project / "src")}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    running = subprocess.Popen(["dvc", "repro", "unfreeze-finetune"], cwd=project, env=environment)
    deadline = time.monotonic() + 120
    while not list(project.glob(".checkpoints/unfreeze-finetune-*/state.safetensors")):
        assert time.monotonic() < deadline and running.poll() is None
        time.sleep(0.05)
    children = psutil.Process(running.pid).children(recursive=True)
    running.kill()
    running.wait()
    _, alive = psutil.wait_procs(children, timeout=30)
    assert children and not alive
    assert ran(dvc(project, "repro", "unfreeze-finetune")) == ["unfreeze-finetune"]
    assert not list(project.glob(".checkpoints/*"))
    lock = (project / "dvc.lock").read_text()
    dvc(project, "repro", "--force", "--single-item", "unfreeze-finetune")
    assert (project / "dvc.lock").read_text() == lock  # as if nothing had happened
    set_params(project, **SMALL)
    assert ran(dvc(project, "repro")) == []


def test_a_wrong_param_stops_the_first_stage_with_one_clear_line(project):
    set_params(project, **SMALL | {"extract__max_bytes": 10**9}, finetune__lr="fast")
    output = dvc(project, "repro", ok=False)
    set_params(project, **SMALL)
    assert ran(output) == ["extract"]
    assert "extract: params.yaml: finetune.lr = 'fast': should be a valid number" in output
    assert "Traceback" not in output


@pytest.mark.slow
def test_photographs_with_real_weights(real_data, tmp_path):
    """The head alone on frozen ImageNet features: a linear probe of these weights reaches 0.967."""
    copy_project(tmp_path)
    set_params(
        tmp_path,
        "recipes/photos.yaml",
        extract__source=str(real_data / "ants_bees.7z"),
        model__weights=str(real_data / "weights/mobilenet_v2-qnnpack-dequantised.pth"),
    )
    dvc(tmp_path, "repro", "train-head")
    split = read_rows(tmp_path / "data/split.csv")
    assert {(s["split"], s["label"]) for s in split} == {
        (part, label) for part in ("train", "valid") for label in ("ants", "bees")
    }
    metrics = json.loads((tmp_path / "results/train_head/details.json").read_text())
    assert metrics["valid"]["count"] == 153
    assert metrics["valid"]["accuracy"] > 0.93
