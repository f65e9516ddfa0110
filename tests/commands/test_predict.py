"""The command `python -m unfreeze.predict`."""

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from made_up_network import CLASSES, NAMES, SIZE, STORED, call, make_model, values
from safetensors.torch import save_file

from unfreeze.commands.app import main
from unfreeze.commands.classifier import Classifier, predict
from unfreeze.core.console import UserError
from unfreeze.images.convert import decode_image
from unfreeze.model.network import load_network, save_network
from unfreeze.views.images import Images


def expected(model: Path, *images: bytes) -> np.ndarray:
    """The plain way of the evaluation."""
    network, card = load_network(model)
    pixels = np.stack([decode_image(data, card.stored_size, card.fit).pixels for data in images])
    with torch.no_grad():
        views = Images(pixels, card.size, torch.device("cpu")).plain(np.arange(len(pixels)))
        return network(views).double().softmax(1).numpy()


def run(*args, stdin: bytes = b"") -> tuple[int, str, str]:
    """The command in a fresh process, with 32 bits."""
    command = [
        sys.executable,
        "-m",
        "unfreeze.predict",
        "--device",
        "cpu",
        "--precision",
        "32",
        *map(str, args),
    ]
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    done = subprocess.run(command, input=stdin, capture_output=True, env=environment)
    assert b"Traceback" not in done.stderr, done.stderr.decode()
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def test_a_new_process_gives_the_plain_probabilities_again(model, photos):
    status, out, err = run(model, photos, "--csv")
    assert (status, err) == (0, "")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert list(rows[0]) == ["path", "predicted", *(f"p_{name}" for name in CLASSES), "error"]
    assert [row["path"] for row in rows] == [str(photos / name) for name in NAMES]
    found = np.array([[float(row[f"p_{name}"]) for name in CLASSES] for row in rows])
    right = expected(model, *((photos / name).read_bytes() for name in NAMES))
    np.testing.assert_allclose(found, right, atol=1e-6)
    assert np.ptp(right, axis=0).max() > 1e-3  # the images are told apart
    assert [row["predicted"] for row in rows] == [CLASSES[i] for i in right.argmax(1)]


def test_standard_input_and_json(model, photos):
    data = (photos / "a.png").read_bytes()
    status, out, err = run(model, "-", photos / "a.png", "--json", stdin=data)
    first, second = map(json.loads, out.splitlines())
    assert (status, err, first["path"]) == (0, "", "-")
    assert first["probabilities"] == second["probabilities"] and list(first["probabilities"]) == CLASSES
    assert first["predicted"] == max(first["probabilities"], key=first["probabilities"].get)
    status, out, err = run(model, "-", "--json")
    assert (status, json.loads(out)) == (1, {"path": "-", "error": "empty file"})
    assert err == "predict: -: empty file\npredict: 1 of 1 failed\n"


def test_the_table_and_its_top(model, photos, capsys):
    status, out, _ = call(capsys, model, photos)
    assert status == 0 and len(out.splitlines()) == 3
    assert all(line.count("0.") == 1 for line in out.splitlines())
    status, out, _ = call(capsys, model, photos / "a.png", "--top", 2)
    path, first, p, second, q = out.split()
    assert path == str(photos / "a.png") and {first, second} < set(CLASSES) and float(p) >= float(q)


def test_bad_files_are_told_and_the_rest_go_on(model, photos, tmp_path, capsys):
    (photos / "b.set/bad.jpg").write_text("no image")
    (tmp_path / "empty").mkdir()
    named = photos / "labels.csv"  # passed over in the folder, tried when named
    status, out, err = call(capsys, model, tmp_path / "no.png", photos, tmp_path / "empty", named, "--csv")
    rows = list(csv.DictReader(io.StringIO(out)))
    errors = [(row["path"], row["error"]) for row in rows if row["error"]]
    assert [(path, error.partition(", but")[0]) for path, error in errors] == [
        (str(tmp_path / "no.png"), "No such file or directory"),
        (str(photos / "b.set/bad.jpg"), "not an image of a known format"),
        (str(tmp_path / "empty"), "no image in this folder"),
        (str(named), "not an image of a known format"),
    ]
    assert status == 1 and len(rows) == 7 and not rows[0]["predicted"] and not rows[0]["p_ant"]
    assert err.splitlines() == [f"predict: {path}: {error}" for path, error in errors] + ["predict: 4 of 7 failed"]
    status, out, _ = call(capsys, model, tmp_path / "no.png", "--json")
    assert (status, json.loads(out)) == (1, dict(path=str(tmp_path / "no.png"), error="No such file or directory"))
    status, out, _ = call(capsys, model, tmp_path / "no.png")
    assert (status, out) == (1, "")


def test_tta_repeats_whatever_the_order(model, classifier, photos, capsys):
    paths = [photos / name for name in NAMES]
    forth, back = (list(classifier.predict(order, tta=3)) for order in (paths, paths[::-1]))
    for one, other in zip(forth, back[::-1], strict=True):
        assert one.path == other.path
        np.testing.assert_allclose(values(one), values(other), atol=1e-6)
    assert list(classifier.predict(paths, tta=3)) == forth
    status, out, _ = call(capsys, model, paths[1], "--tta", 3, "--json")
    assert status == 0
    np.testing.assert_allclose(list(json.loads(out)["probabilities"].values()), values(forth[1]), atol=1e-6)


def test_several_labels_are_those_above_their_thresholds(tmp_path, model, photos, capsys):
    network, card = load_network(model)
    several = tmp_path / "several.safetensors"
    with torch.no_grad():
        views = Images(
            np.stack([decode_image((photos / n).read_bytes(), STORED, "crop").pixels for n in NAMES]), SIZE,
            torch.device("cpu"),
        )  # fmt: skip
        right = network(views.plain(np.arange(3))).double().sigmoid().numpy()
    common = float(np.sort(right.ravel())[3:5].mean())  # five of the nine lie above
    card.thresholds.update({"global": [common] * 3, "per_label": [2.0, 0.0, 2.0]})
    save_network(several, network, card)
    status, out, _ = call(capsys, several, photos, "--json")
    found = [json.loads(line) for line in out.splitlines()]
    assert status == 0
    np.testing.assert_allclose([list(row["probabilities"].values()) for row in found], right, atol=1e-6)
    assert [row["predicted"] for row in found] == [
        [name for name, value in zip(CLASSES, row, strict=True) if value >= common] for row in right
    ]
    _, out, _ = call(capsys, several, photos, "--csv")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert [row["predicted"] for row in rows] == [" ".join(row["predicted"]) or "-" for row in found]
    _, out, _ = call(capsys, several, photos)
    assert sum(line.count("0.") for line in out.splitlines()) == 5
    _, out, _ = call(capsys, several, photos, "--thresholds", "per_label")
    assert [line.split()[1] for line in out.splitlines()] == ["bee"] * 3
    _, out, _ = call(capsys, several, photos, "--top", 2)
    assert all(line.count("0.") == 2 for line in out.splitlines())
    status, _, err = call(capsys, model, photos, "--thresholds", "per_label")
    assert status == 2 and "thresholds = per_label has no effect" in err
    with pytest.raises(UserError, match="thresholds = 'best': must be global or per_label"):
        predict(several, photos, thresholds="best").__next__()
    [none] = Classifier(several, device="cpu").predict(photos / "a.png", thresholds="per_label")
    assert none.labels == ["bee"] and none.predicted == "bee"


def test_options_without_effect_or_out_of_range_are_refused(tmp_path, model, capsys):
    plain = make_model(tmp_path, set="none", max_zoom=1.0)
    status, _, err = call(capsys, plain, "x.png", "--tta", 2)
    assert status == 2 and "tta = 2 has no effect" in err and "augment.set = none" in err
    status, _, err = call(capsys, model, "x.png", "--tta", "-1")
    assert status == 2 and "must be 0 or more" in err
    for options in (["--top", "2", "--json"], ["--top", "0"], ["--json", "--csv"], ["--device", "abacus"], []):
        with pytest.raises(SystemExit) as caught:
            main(["predict", str(model), *(["x.png"] if options else []), *options])
        assert caught.value.code == 2


def test_a_missing_or_foreign_model_is_a_clear_error(tmp_path, model, photos, capsys):
    foreign = tmp_path / "foreign.safetensors"
    save_file({"x": torch.zeros(1)}, foreign)
    for path, message in [
        (tmp_path / "no.safetensors", "is not there"),
        (foreign, "was not written by unfreeze"),
        (photos / "a.png", "was not written by unfreeze"),
        (photos, "was not written by unfreeze"),
        (model.with_name("head.safetensors"), "does not describe a network"),
    ]:
        status, out, err = call(capsys, path, photos)
        assert (status, out) == (2, "") and message in err and err.startswith(f"predict: {path} ")
    status, _, err = run(tmp_path / "no.safetensors", photos)
    assert status == 2 and err.count("\n") == 1
    network, card = load_network(model)
    card.augment["max_zoom"] = "far"
    save_network(foreign, network, card)
    with pytest.raises(UserError, match="does not describe a network"):
        Classifier(foreign)


def test_a_reader_that_has_seen_enough_is_no_error(model, photos):
    command = [sys.executable, "-m", "unfreeze.predict", str(model), *[str(photos)] * 40]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141


def test_the_command_starts_fast():
    code = "import sys, unfreeze.predict; print({'torch', 'PIL', 'py7zr', 'sklearn'} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "set()"
