"""`unfreeze new`: a project of one's own for some data."""

import json
import subprocess
import zipfile
from io import BytesIO

import numpy as np
import pytest
import yaml
from PIL import Image
from small_project import ROOT, dvc, git

from unfreeze.archive.look import look
from unfreeze.commands import new
from unfreeze.commands.new import PLACEHOLDER, fill, new_project
from unfreeze.commands.propose import Choice, propose
from unfreeze.core.console import UserError


def picture(seed, side=20):
    data = BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (side, side, 3), np.uint8)).save(data, "PNG")
    return data.getvalue()


def write_zip(path, files):
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


@pytest.fixture
def data(tmp_path):
    """Two classes in folders, 15 images each."""
    return write_zip(tmp_path / "set.zip", {f"{c}/{i}.png": picture(i) for c in "ab" for i in range(15)})


def rows(labels):
    return "".join(f"{i}.png,{label}\n" for i, label in enumerate(labels))


IMAGES = {f"i/{i}.png": picture(i, 80) for i in range(30)}


@pytest.mark.parametrize(
    ("files", "labels", "kind"),
    [
        ({f"{c}/{i}.png": picture(i) for c in "ab" for i in range(9)}, "folders", "single"),
        ({f"train/{c}.{i}.png": picture(i) for c in ("cat", "dog") for i in range(9)}, "names", "single"),
        (IMAGES | {"l.csv": "file,breed\n" + rows(["great dane", "pug"] * 15)}, "l.csv", "single"),
        (IMAGES | {"l.csv": "file,tags\n" + rows(["a b", "b c", "a c", "a b c", "c"] * 6)}, "l.csv", "multi"),
        (IMAGES | {"l.csv": "file,genre\n" + rows(["\"['a', 'b']\"", "['b']", "['c']"] * 10)}, "l.csv", "multi"),
        (IMAGES | {"l.csv": "file,a,b\n" + rows(["1,0", "0,1"] * 15)}, "l.csv", "single"),
        (IMAGES | {"l.csv": "file,a,b\n" + rows(["1,1", "0,1"] * 15)}, "l.csv", "multi"),
        (
            IMAGES | {"l.csv": "file,what\n" + rows("ab" * 15), "sample_submission.csv": "file,what\n0.png,a\n"},
            "l.csv",
            "single",
        ),
    ],
)
def test_the_source_of_labels_and_the_task_are_found(tmp_path, files, labels, kind):
    found = propose(look(write_zip(tmp_path / "x.zip", files)))
    assert found.question is None
    assert found.choices["split", "labels"].value == labels and found.choices["split", "kind"].value == kind


def test_two_ways_to_read_the_labels_are_a_question_with_both(tmp_path):
    files = {f"{'ab'[i % 2]}/{i}.png": picture(i) for i in range(30)}
    files["l.csv"] = "file,patient\n" + rows(["x", "y", "z"] * 10)
    question = propose(look(write_zip(tmp_path / "x.zip", files))).question
    assert [answer["labels"] for answer in question.answers] == ["l.csv", "folders"]


def test_a_table_that_repeats_the_folders_is_no_question(tmp_path):
    files = {f"{'ab'[i % 2]}/{i}.png": picture(i) for i in range(30)}
    files["l.csv"] = "file,label\n" + rows(["a", "b"] * 15)
    assert propose(look(write_zip(tmp_path / "x.zip", files))).choices["split", "labels"].value == "folders"


def test_a_value_stands_with_its_reason_in_its_section():
    text = "seed: 1\n\nsplit:\n  kind: single   # old\n  seed: 1\n\nmodel:\n  kind: x\n"
    filled = fill(text, {("split", "kind"): Choice("multi", "tags"), ("split", "level"): Choice("last", "deep")})
    assert "  kind: multi  # tags\n" in filled and "# old" not in filled
    assert yaml.safe_load(filled) == {
        "seed": 1,
        "split": {"kind": "multi", "seed": 1, "level": "last"},
        "model": {"kind": "x"},
    }


def test_what_is_wrong_is_said_before_anything_is_made(tmp_path, data):
    with pytest.raises(UserError, match=r"--recipe nix is none of .*photos"):
        new_project(tmp_path / "p", data, "nix")
    with pytest.raises(UserError, match="is there already"):
        new_project(tmp_path, data, None)
    table = write_zip(tmp_path / "t.zip", {"l.csv": "id,label\n1,a\n"})
    with pytest.raises(UserError, match=r"no image .*l\.csv"):
        new_project(tmp_path / "p", table, None)
    assert not (tmp_path / "p").exists()


def test_what_fails_on_the_way_leaves_nothing_half_made(tmp_path, data, monkeypatch):
    def fail(folder, message):
        raise UserError("no space")

    monkeypatch.setattr(new, "_commit", fail)
    with pytest.raises(UserError, match="no space"):
        new_project(tmp_path / "p", data, None)
    assert [path.name for path in tmp_path.iterdir()] == ["set.zip"]


def test_what_nobody_decided_is_refused_by_every_stage(tmp_path):
    files = {f"{'ab'[i % 2]}/{i}.png": picture(i) for i in range(30)}
    files["l.csv"] = "file,patient\n" + rows(["x", "y", "z"] * 10)
    lines = new_project(tmp_path / "p", write_zip(tmp_path / "x.zip", files), None)
    assert "split.labels" in lines[-1] and "l.csv" in lines[-1] and "folders" in lines[-1]
    assert yaml.safe_load((tmp_path / "p/params.yaml").read_text())["split"]["labels"].startswith(PLACEHOLDER)
    assert "split.labels" in dvc(tmp_path / "p", "repro", "extract", ok=False)


@pytest.mark.slow
def test_the_project_runs_its_own_code_on_linked_data_and_shares_cache_and_environment(
    tmp_path, data, monkeypatch
):
    # From a clone, whose cache holds nothing that an earlier run of this test has left.
    origin, project = tmp_path / "origin", tmp_path / "mine"
    git(tmp_path, "clone", "-q", str(ROOT), str(origin))
    (origin / ".venv").symlink_to(ROOT / ".venv")
    monkeypatch.setattr(new, "ROOT", origin)
    new_project(project, data, None)
    assert git(project, "status", "--short") == "" and len(git(project, "log", "--oneline", "-1").split()) > 1
    assert (project / "data/raw/set.zip").is_symlink() and not (project / "dvc.lock").exists()
    assert (project / ".venv").resolve() == (ROOT / ".venv").resolve()
    module = project / "src/unfreeze/labels/summary.py"
    module.write_text(module.read_text().replace('f"labels from ', 'f"EDITED labels from '))
    assert "split: EDITED labels from folders; 2 classes: a 15, b 15" in dvc(project, "repro", "split")
    assert json.loads((project / "data/summary.json").read_text())["classes"].keys() == {"a", "b"}
    shared = subprocess.run(
        ["dvc", "cache", "dir"], cwd=project, capture_output=True, text=True, check=True
    ).stdout
    assert (project / shared.strip()).resolve() == origin / ".dvc/cache"
