"""From a folder of an archive and a label file to data/split.csv, by the stages themselves."""

import io
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import yaml
from PIL import Image

from unfreeze.core import tables
from unfreeze.task.split_table import read_split

ROOT = Path(__file__).parents[1]


def png(seed):
    pixels = np.random.default_rng(seed).integers(0, 256, (12, 12, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "png")
    return file.getvalue()


def test_an_archive_and_a_label_file_in_one_folder(tmp_path):
    source = tmp_path / "data/raw/chips"
    source.mkdir(parents=True)
    with zipfile.ZipFile(source / "images.zip", "w") as archive:
        for i in range(30):
            archive.writestr(f"chips/{i}.png", png(i))
        archive.writestr("test/new.png", png(99))
    tags = [" ".join(c for c in ("road", "water") if i % (len(c) - 1)) for i in range(31)]
    (source / "tags.csv").write_text("image,tags\n" + "".join(f"{i},{t}\n" for i, t in enumerate(tags)))
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    params["extract"]["source"] = "data/raw/chips"
    params["split"] |= {"labels": "tags.csv", "kind": "multi", "folds": 3}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    shutil.copy(ROOT / "dvc.yaml", tmp_path)

    (tmp_path / "src").symlink_to(ROOT / "src")
    environment = os.environ | {"PYTHONPATH": "src"}
    for stage in ("extract", "decode", "split"):
        done = subprocess.run(
            [sys.executable, ROOT / f"stages/{stage}.py"],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[:-1] == [
        "split: labels from tags.csv; 2 classes: water 22, road 20",
        "split: columns: ids image; labels tags",
        "split: 30 ids fit as ends of paths without suffix",
        "split: 1 x no image: left out, such as 30",
        "split: 1 x no label: predicted only, such as test/new.png",
    ]
    last = "split: 2 classes, 18 train, 6 valid, 7 test; made here: valid, test; 0 duplicates"
    assert lines[-1].startswith(last)
    assert tables.read(tmp_path / "data/unmatched.csv").to_dict("records") == [
        {"name": "30", "reason": "no image: left out"},
        {"name": "test/new.png", "reason": "no label: predicted only"},
    ]
    table = read_split(tmp_path / "data/split.csv", 31)
    assert table.task.kind == "multi" and table.classes == ["road", "water"]
    for row, path in enumerate(table.paths):
        if path == "test/new.png":
            assert np.isnan(table.targets[row]).all() and row in table.rows["test"]
        else:
            names = [name for name, hot in zip(table.classes, table.targets[row], strict=True) if hot]
            assert " ".join(names) == tags[int(Path(path).stem)]
