"""The real `dvc repro` on a few SIMULATED radar records, and on grey images."""

import json
import subprocess
import sys
from collections import defaultdict

import numpy as np
import py7zr
import pytest
from chain import read_rows
from simulate_bands import write_archives
from small_project import ROOT, SMALL, copy_project, dvc, ran, set_params

pytestmark = pytest.mark.slow

BANDS = {
    "model__arch": "shufflenet_v2_x0_5",
    "precompute__skip": False,
    "finetune__cycle_len": 1,
    "finetune__batch_size": 16,
    "train_head__batch_size": 16,
    "tta__views": 1,
    "report__per_gallery": 2,
}


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """The whole chain, run once on 48 labelled and 12 other records."""
    folder = tmp_path_factory.mktemp("bands")
    copy_project(folder)
    for sample in (folder / "data/raw").iterdir():
        sample.unlink()
    write_archives(folder / "data/raw", train=48, na=6, test=12)
    set_params(folder, "recipes/radar_bands.yaml", **BANDS)
    dvc(folder, "repro")
    return folder


def test_records_of_one_angle_stay_together_and_test_records_are_predicted(project):
    images, split = read_rows(project / "data/images/images.csv"), read_rows(project / "data/split.csv")
    assert len(images) == len(split) == 60
    parts = defaultdict(set)
    for row in split:
        image = images[int(row["row"])]
        assert row["label"] == image["is_iceberg"]
        if row["label"] and image["inc_angle"] != "na":
            parts[image["inc_angle"]].add(row["split"])
    assert len(parts) > 5 and all(len(part) == 1 for part in parts.values())
    assert {row["split"] for row in split if "/test.json/" in row["path"]} == {"test"}
    predictions = read_rows(project / "results/evaluate/predictions.csv")
    assert sum("/test.json/" in row["path"] for row in predictions) == 12
    assert {row["top_1"] for row in predictions} <= {"0", "1"}
    assert np.load(project / "results/evaluate/probabilities.npy").shape == (len(predictions), 2)


def test_everything_is_standardised_by_the_training_records_alone(project):
    pixels, split = np.load(project / "data/images/pixels.npy"), read_rows(project / "data/split.csv")
    train = [int(row["row"]) for row in split if row["split"] == "train"]
    normalisation = json.loads((project / "data/normalisation.json").read_text())
    assert normalisation["mean"] == pytest.approx(
        pixels[train].mean((0, 1, 2), dtype=np.float64).tolist(), rel=1e-5
    )
    angles = [row["inc_angle"] for row in read_rows(project / "data/images/images.csv")]
    known = [float(angles[row]) for row in train if angles[row] != "na"]
    (angle,) = json.loads((project / "data/numbers.json").read_text())
    assert (angle["median"], angle["indicator"]) == (pytest.approx(np.median(known)), True)
    numbers = np.load(project / "data/numbers.npy")
    assert numbers[:, 1].tolist() == [float(a == "na") for a in angles]
    assert numbers[train].mean(0)[0] == pytest.approx(0, abs=0.2)


def test_the_model_s_one_file_predicts_records_of_json_files_and_archives(project):
    command = [
        sys.executable,
        "-m",
        "unfreeze.predict",
        "models/model.safetensors",
        "data/raw/test.json.7z",
        "--json",
    ]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=True)
    predictions = [json.loads(line) for line in done.stdout.splitlines()]
    names = [row["path"] for row in read_rows(project / "data/images/images.csv") if "/test.json/" in row["path"]]
    assert [row["path"] for row in predictions] == [f"data/raw/test.json.7z/{name}" for name in names]
    assert all(0 < row["probabilities"]["1"] < 1 for row in predictions)


def test_nothing_runs_again_and_a_new_split_is_a_new_standard(project):
    assert ran(dvc(project, "repro")) == []
    set_params(project, "recipes/radar_bands.yaml", **BANDS, split__seed=2)
    assert ran(dvc(project, "repro", "precompute-features")) == ["split", "precompute-features"]


def test_grey_images_and_a_new_split_of_them_computes_no_feature(tmp_path):
    """What depends on the split is the same for every split of images: DVC compares contents."""
    copy_project(tmp_path)
    with py7zr.SevenZipFile(ROOT / "data/raw/digits.7z") as archive:
        names = sorted(name for name in archive.getnames() if name.endswith(".png"))[::12]
        archive.extract(tmp_path / "cut", targets=names)
    with py7zr.SevenZipFile(tmp_path / "data/raw/cut.7z", "w") as archive:
        for name in names:
            archive.write(tmp_path / "cut" / name, name)
    small = SMALL | {
        "decode__channels": "grey",
        "finetune__cycles": 0,
        "finetune__snapshots": 1,
        "split__folds": 0,
    }
    set_params(tmp_path, **small)
    dvc(tmp_path, "repro")
    assert np.load(tmp_path / "data/images/pixels.npy").shape[1:] == (36, 36, 1)
    assert json.loads((tmp_path / "data/normalisation.json").read_text()) == {"mean": [], "std": []}
    set_params(tmp_path, **small, split__seed=2)
    assert ran(dvc(tmp_path, "repro", "precompute-features")) == ["split"]
