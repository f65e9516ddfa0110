"""From an archive and a sample submission to results/evaluate/submission.csv, by the stages themselves."""

import csv
import io
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from stored_data import stored

from unfreeze.core import tables
from unfreeze.model.backbone import ModelParams
from unfreeze.model.head import HeadParams, build_head
from unfreeze.model.network import assemble, save_head, save_network

ROOT = Path(__file__).parents[1]


def png(seed):
    pixels = np.random.default_rng(seed).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "png")
    return file.getvalue()


def stage(folder, name, ok=True):
    done = subprocess.run(
        [sys.executable, ROOT / f"stages/{name}.py"],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": "src"},
        capture_output=True,
        text=True,
    )
    assert (done.returncode == 0) == ok, done.stderr
    return done.stdout + done.stderr


@pytest.mark.slow
def test_a_sample_in_the_archive(tmp_path):
    source = tmp_path / "data/raw/plates"
    source.mkdir(parents=True)
    with zipfile.ZipFile(source / "plates.zip", "w") as archive:
        for i in range(20):
            archive.writestr(f"plates/train/{('clean', 'dirty')[i % 2]}/{i}.png", png(i))
        for i in range(5):
            archive.writestr(f"plates/test/{i:04}.png", png(100 + i))
    sample = "id,dirty\n" + "".join(f"{i:04},0.5\n" for i in (3, 1, 4, 0, 2))
    with zipfile.ZipFile(source / "sample_submission.csv.zip", "w") as archive:
        archive.writestr("sample_submission.csv", sample)
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    params["extract"]["source"] = "data/raw/plates"
    params["submission"]["sample"] = "sample_submission.csv"
    params["precompute"]["skip"] = True
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    shutil.copy(ROOT / "dvc.yaml", tmp_path)
    (tmp_path / "src").symlink_to(ROOT / "src")
    for name in ("extract", "decode", "split", "precompute_features"):
        stage(tmp_path, name)

    shape, head = HeadParams(hidden=[], dropout=[0.0]), tmp_path / "models/head.safetensors"
    save_head(head, build_head(1024, 2, shape, seed=1), shape, ["clean", "dirty"], lr=None)
    network, card, _ = assemble(ModelParams(**params["model"]), head, stored(36), params["augment"], seed=1)
    save_network(tmp_path / "models/model.safetensors", network, card)

    assert "; submission of 5 rows of probabilities" in stage(tmp_path, "tta_evaluate")
    predictions = tables.read(tmp_path / "results/evaluate/predictions.csv").to_dict("records")
    dirty = {Path(p["path"]).stem: p["p_1"] if p["top_1"] == "dirty" else p["p_2"] for p in predictions}
    with (tmp_path / "results/evaluate/submission.csv").open(newline="") as file:
        lines = list(csv.reader(file))
    assert [line[0] for line in lines] == ["id", "0003", "0001", "0004", "0000", "0002"]
    assert [line[1] for line in lines[1:]] == [dirty[line[0]] for line in lines[1:]]
    probabilities = np.load(tmp_path / "results/evaluate/probabilities.npy")[:, 1]
    by_name = dict(zip(dirty, probabilities.tolist(), strict=True))
    assert [by_name[line[0]] for line in lines[1:]] == pytest.approx([float(line[1]) for line in lines[1:]])

    with zipfile.ZipFile(source / "sample_submission.csv.zip", "w") as archive:
        archive.writestr("sample_submission.csv", sample + "0005,0.5\n")
    stage(tmp_path, "extract")
    said = stage(tmp_path, "tta_evaluate", ok=False)
    assert "tta-evaluate: sample_submission.csv: 1 ids ('0005') are none of the 5 unlabelled test images" in said
