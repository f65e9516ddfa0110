"""The real `dvc repro`, on a cut of the sample and on real photographs."""

import csv
import json
import os
import subprocess
import sys
import time
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import psutil
import pytest
import yaml
from dvc.repo import Repo
from small_project import SMALL, STAGES, copy_project, copy_run, dvc, ran, set_params

from unfreeze.files import read_csv


@pytest.fixture(scope="module")
def project(small_run, tmp_path_factory) -> Path:
    """The whole chain as it was run once on the cut of the sample, to be changed and put back."""
    return copy_run(small_run, tmp_path_factory.mktemp("project"))


def test_every_stage_runs_once_in_its_order(small_run):
    assert ran((small_run / "output.txt").read_text()) == list(STAGES)


def test_every_stage_says_what_it_made(project):
    metrics = json.loads((project / "results/evaluate/metrics.json").read_text())
    assert {part: set(methods) for part, methods in metrics.items()} == {
        "valid": {"head", "plain", "tta"},
        "test": {"head", "plain", "tta"},
    }
    assert metrics["test"]["head"]["accuracy"] > 0.6  # chance is 0.1
    folds = json.loads((project / "results/train_head/metrics.json").read_text())["cross_validation"]
    assert folds["folds"] == 3 and folds["accuracy"]["mean"] > 0.6

    split = read_csv(project / "data/split.csv")
    predictions = read_csv(project / "results/evaluate/predictions.csv")
    assert {p["row"] for p in predictions} == {s["row"] for s in split if s["split"] != "train"}
    assert all(p["label"] == s["label"] for p in predictions for s in split if s["row"] == p["row"])
    out_of_fold = read_csv(project / "results/train_head/out_of_fold.csv")
    assert {p["row"] for p in out_of_fold} == {s["row"] for s in split if s["split"] != "test"}

    page = (project / "results/report/index.html").read_text()
    assert "no transfer took place" in page
    assert 'src="http' not in page and 'href="http' not in page
    assert (project / "models/best.safetensors").is_file()
    assert [p.name for p in (project / "models/snapshots").iterdir()] == ["epoch_001.safetensors"]


def test_predictions_are_those_of_the_saved_model(project):
    """The model's one file, in another process, gives the plain view's accuracy again."""
    code = """
import json, numpy as np, torch
from pathlib import Path
from unfreeze.data.store import open_array
from unfreeze.data.table import read_split
from unfreeze.model.network import load_network
from unfreeze.train.augment import Images
network, card = load_network(Path("models/model.safetensors"))
pixels = open_array(Path("data/images/pixels.npy"))
table = read_split(Path("data/split.csv"), len(pixels))
with torch.no_grad():
    logits = network(Images(pixels, card.size, torch.device("cpu")).plain(table.rows["test"]))
print((logits.argmax(1).numpy() == table.targets[table.rows["test"]]).mean())
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=project, capture_output=True, text=True, check=True)
    metrics = json.loads((project / "results/evaluate/metrics.json").read_text())
    assert float(done.stdout) == pytest.approx(metrics["test"]["plain"]["accuracy"], abs=0.04)  # 32 bits here


def test_nothing_runs_again_when_nothing_changed(project):
    assert ran(dvc(project, "repro")) == []


TORCH = ["precompute-features", "find-lr", "train-head", "unfreeze-finetune", "tta-evaluate"]
READS = {
    "seed": [*TORCH, "report"],
    "extract": ["extract"],
    "decode": ["decode", "unfreeze-finetune"],
    "split": ["split"],
    "model": ["precompute-features", "unfreeze-finetune", "report"],
    "head": ["find-lr", "train-head"],
    "precompute": ["precompute-features"],
    "augment": ["unfreeze-finetune", "tta-evaluate"],
    "find_lr": ["find-lr"],
    "train_head": ["train-head"],
    **{
        f"train_head.{key}": ["find-lr", "train-head"]
        for key in (
            *("batch_size", "optimizer", "momentum", "weight_decay", "label_smoothing", "clip_norm", "balance"),
        )
    },
    "finetune": ["unfreeze-finetune"],
    "tta": ["tta-evaluate"],
    "submission": ["tta-evaluate"],
    "report": ["report"],
    "verify": [],
    "runtime": TORCH,
    "runtime.devices": ["unfreeze-finetune", "report"],
    "runtime.checkpoint_minutes": [],
}
"""Which stages a param is read by: the longest key that fits."""


def changed(folder: Path) -> list[str]:
    """The stages that DVC would run for their own deps and params, in the order of the pipeline.

    Asked in a process of its own, which need not import DVC again.
    """
    context = get_context("fork")
    receiver, sender = context.Pipe(duplex=False)

    def look() -> None:
        os.chdir(folder)  # elsewhere DVC puts the path before the name
        with Repo() as repo:
            sender.send(list(repo.status()))

    process = context.Process(target=look)
    process.start()
    found = receiver.recv()
    process.join()
    return [name for name in STAGES if name in found]


def test_each_param_runs_exactly_the_stages_that_read_it(project):
    content = yaml.safe_load((project / "params.yaml").read_text())
    assert changed(project) == []
    for section, values in content.items():
        for key in values if isinstance(values, dict) else [None]:
            other = yaml.safe_load(yaml.safe_dump(content))
            if key is None:
                other[section] += 1
            else:
                other[section][key] = f"other than {values[key]}"
            (project / "params.yaml").write_text(yaml.safe_dump(other))
            path = section if key is None else f"{section}.{key}"
            reads = READS.get(path, READS[section])
            # The report shows every param that makes a difference.
            assert changed(project) == (reads if "report" in reads or not reads else [*reads, "report"]), path
    (project / "params.yaml").write_text(yaml.safe_dump(content))
    assert changed(project) == []


def test_each_module_runs_exactly_the_stages_that_import_it(project):
    for file in sorted((project / "src").rglob("*.py")) + sorted((project / "stages").glob("*.py")):
        content, name = file.read_text(), str(file.relative_to(project))
        file.write_text(content + "# changed\n")
        assert changed(project) == [stage for stage, each in STAGES.items() if name in each["deps"]], name
        file.write_text(content)
    assert changed(project) == []


WHAT_RUNS = [
    ({"train_head__lr": 0.02}, "train-head"),
    ({"split__valid": 0.3}, "split"),  # features are of all images, whatever the split
    ({"find_lr__steps": 50}, "find-lr"),
    ({"finetune__lr": 0.01}, "unfreeze-finetune"),
    ({"augment__set": "flip"}, "unfreeze-finetune"),
    ({"precompute__views": 1}, "precompute-features"),
    ({"model__size": 28}, "precompute-features"),
    ({"model__stem": "small"}, "precompute-features"),
    ({"tta__views": 1}, "tta-evaluate"),
    ({"report__per_gallery": 3}, "report"),
]


@pytest.mark.parametrize(("changes", "first"), WHAT_RUNS, ids=[next(iter(c)) for c, _ in WHAT_RUNS])
def test_a_change_runs_nothing_before_the_stage_that_reads_it(project, changes, first):
    set_params(project, **SMALL | changes)
    planned = ran(dvc(project, "repro", "--dry"))
    set_params(project, **SMALL)
    assert planned[0] == first


def test_another_weights_file_computes_the_features_again(project):
    (project / "weights/mine.safetensors").write_bytes(b"changed")
    planned = ran(dvc(project, "repro", "--dry"))
    (project / "weights/mine.safetensors").unlink()
    assert planned[0] == "precompute-features"


def test_a_new_head_rate_touches_no_image(project):
    set_params(project, **SMALL, train_head__lr=0.02)
    planned = ran(dvc(project, "repro", "--dry"))
    set_params(project, **SMALL)
    assert planned == ["train-head", "report"]  # which shows the params


def test_another_stored_size_is_decoded_again_and_not_taken_from_the_run_cache(project):
    before = (project / "data/images/pixels.npy").read_bytes()
    set_params(project, **SMALL, decode__size=34)
    assert ran(dvc(project, "repro", "decode")) == ["decode"]
    assert np.load(project / "data/images/pixels.npy").shape[1] == 34
    set_params(project, **SMALL)
    assert ran(dvc(project, "repro")) == []  # this time the run cache is right
    assert (project / "data/images/pixels.npy").read_bytes() == before


def test_the_same_again_gives_the_same_bytes(project):
    lock = (project / "dvc.lock").read_text()
    metrics = (project / "results/evaluate/metrics.json").read_bytes()
    assert ran(dvc(project, "repro", "--force")) == list(STAGES)
    assert (project / "dvc.lock").read_text() == lock
    assert (project / "results/evaluate/metrics.json").read_bytes() == metrics


def test_predicting_the_test_images_again_gives_their_rows(project):
    """From the model's one file and the archive, in another process, by the plain view."""
    command = [sys.executable, "-m", "unfreeze.predict", "models/model.safetensors", "data/raw/cut.7z", "--csv"]
    command += ["--precision", "32"]  # as the stages of the small project
    environment = os.environ | {"PYTHONPATH": str(project / "src")}
    done = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=True)
    rows = {row["path"].removeprefix("data/raw/cut.7z/"): row for row in csv.DictReader(done.stdout.splitlines())}
    split = [row for row in read_csv(project / "data/split.csv") if row["split"] == "test"]
    right = np.mean([rows[row["path"]]["predicted"] == row["label"] for row in split])
    metrics = json.loads((project / "results/evaluate/metrics.json").read_text())
    assert right == pytest.approx(metrics["test"]["plain"]["accuracy"])
    set_params(project, **SMALL | {"tta__views": 0, "finetune__snapshots": 1})
    dvc(project, "repro", "tta-evaluate")
    for row in read_csv(project / "results/evaluate/predictions.csv"):
        if row["split"] == "test":
            again = rows[row["path"]]
            assert all(float(again[c]) == pytest.approx(float(row[c]), abs=2e-3) for c in row if c[:2] == "p_")
    set_params(project, **SMALL)
    assert ran(dvc(project, "repro")) == []  # from the run cache


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
    found = json.loads((project / "results/finetune/metrics.json").read_text())
    assert found["lr"] == found["minimum_tenth"] and found["epochs"] == 4
    assert json.loads((project / "results/train_head/metrics.json").read_text()) == {}
    metrics = json.loads((project / "results/evaluate/metrics.json").read_text())
    assert set(metrics["test"]) == {"plain", "tta"}
    phases = [row["phase"] for row in read_csv(project / "results/finetune/epochs.csv")]
    assert phases == ["unfrozen 16"] * 2 + ["unfrozen 32"] * 2
    assert len(list((project / "models/snapshots").iterdir())) == 1
    page = (project / "results/report/index.html").read_text()
    assert "Learning-rate finder of the whole network" in page
    set_params(project, **SMALL)
    assert ran(dvc(project, "repro")) == []  # going back runs nothing


def test_cached_views_and_lr_auto_reach_the_head(project):
    set_params(project, **SMALL | {"precompute__views": 2, "train_head__lr": "auto"})
    dvc(project, "repro", "train-head")
    suggested = json.loads((project / "results/find_lr/metrics.json").read_text())["minimum_tenth"]
    assert json.loads((project / "results/train_head/metrics.json").read_text())["lr"] == suggested
    views = [np.load(project / f"data/features/{name}.npy") for name in ("plain", "view_00", "view_01")]
    assert len({view.shape for view in views}) == 1 and not np.allclose(views[1], views[2])
    set_params(project, **SMALL)
    assert ran(dvc(project, "repro")) == []


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
    split = read_csv(tmp_path / "data/split.csv")
    assert {(s["split"], s["label"]) for s in split} == {
        (part, label) for part in ("train", "valid") for label in ("ants", "bees")
    }
    metrics = json.loads((tmp_path / "results/train_head/metrics.json").read_text())
    assert metrics["valid"]["count"] == 153
    assert metrics["valid"]["accuracy"] > 0.93
