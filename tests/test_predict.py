import csv
import io
import json
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import py7zr
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from unfreeze import predict as module
from unfreeze.console import UserError
from unfreeze.data.archive import extract
from unfreeze.data.images import DecodeParams, decode_image, decode_tar
from unfreeze.data.store import open_array
from unfreeze.evaluate.tta import predict_views
from unfreeze.files import read_csv
from unfreeze.model.backbone import ModelParams
from unfreeze.model.head import HeadParams, build_head
from unfreeze.model.network import assemble, load_network, save_head, save_network
from unfreeze.predict import Classifier, main, predict
from unfreeze.train.augment import AugmentParams, Images

CLASSES = ["ant", "bee", "çicada"]
HEAD = HeadParams(hidden=[], dropout=[0.0])
STORED, SIZE = 36, 32
AUGMENT = {"set": "side_on", "max_zoom": 1.2, "pad": 0}


def photo(i=0):
    pixels = np.random.default_rng(i).integers(0, 256, (5, 7, 3), np.uint8)
    return Image.fromarray(pixels).resize((70, 50), Image.Resampling.BICUBIC)


def encode(image, format="PNG", **options):
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def make_model(folder: Path, **augment) -> Path:
    """A random network whose probabilities differ from image to image."""
    head = build_head(2 * 512, len(CLASSES), HEAD, 1)
    save_head(folder / "head.safetensors", head, HEAD, CLASSES, 0.01)
    model = ModelParams(arch="resnet18", weights="none", stem="imagenet", size=SIZE)
    network, card, _ = assemble(model, folder / "head.safetensors", "crop", STORED, AUGMENT | augment, seed=5)
    save_network(folder / "model.safetensors", network, card)
    return folder / "model.safetensors"


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return make_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def classifier(model) -> Classifier:
    return Classifier(model, device="cpu", precision="32")


@pytest.fixture
def photos(tmp_path) -> Path:
    """A folder with images, things that are none, and a folder in it."""
    folder = tmp_path / "photos"
    (folder / "b.set").mkdir(parents=True)
    for i, name in enumerate(["z.png", "a.png", "b.set/c.png"]):
        (folder / name).write_bytes(encode(photo(i)))
    (folder / "labels.csv").write_text("no image")
    (folder / ".hidden.png").write_text("no image")
    return folder


NAMES = ["a.png", "b.set/c.png", "z.png"]


def expected(model: Path, *images: bytes) -> np.ndarray:
    """The plain way of the evaluation."""
    network, card = load_network(model)
    pixels = np.stack([decode_image(data, card.stored_size, card.fit).pixels for data in images])
    with torch.no_grad():
        views = Images(pixels, card.size, torch.device("cpu")).plain(np.arange(len(pixels)))
        return network(views).double().softmax(1).numpy()


def values(prediction) -> list[float]:
    assert not prediction.error, prediction
    return list(prediction.probabilities.values())


def run(*args, stdin: bytes = b"") -> tuple[int, str, str]:
    """The command in a fresh process, with 32 bits."""
    command = [sys.executable, "-m", "unfreeze.predict", "--device", "cpu", "--precision", "32", *map(str, args)]
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    done = subprocess.run(command, input=stdin, capture_output=True, env=environment)
    assert b"Traceback" not in done.stderr, done.stderr.decode()
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def call(capsys, *args) -> tuple[int, str, str]:
    """The same in this process."""
    status = main(["--device", "cpu", "--precision", "32", *map(str, args)])
    return status, *capsys.readouterr()


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


def test_an_image_of_the_pipeline_gets_its_probabilities_again(model, classifier, photos, tmp_path, fabric):
    extract(photos, tmp_path / "x.tar", tmp_path / "x.csv", 10**9)
    files = [tmp_path / name for name in ("x.tar", "x.csv", "pixels.npy", "images.csv", "rejected.csv")]
    decode_tar(
        *files[:2], DecodeParams(size=STORED, fit="crop", channels="rgb", max_rejected=0.5), *files[2:], workers=1
    )
    pixels = open_array(tmp_path / "pixels.npy")
    network, card = load_network(model)
    images = Images(pixels, card.size, fabric.device)
    augment = AugmentParams(**card.augment)
    plain, _ = predict_views(fabric, network, images, np.arange(len(pixels)), 0, augment, card.seed, 32)
    for row in read_csv(tmp_path / "images.csv"):
        [found] = classifier.predict(photos / row["path"])
        np.testing.assert_allclose(values(found), plain[int(row["row"])], atol=1e-6)


def test_the_function_and_the_class_agree(model, classifier, photos):
    again = list(predict(model, [photos]))
    assert [p.path for p in again] == [str(photos / name) for name in NAMES]
    for one, other in zip(again, classifier.predict(str(photos)), strict=True):
        np.testing.assert_allclose(values(one), values(other), atol=0.02)  # bf16 where the hardware has it
    assert again[0].ranked[0] == (again[0].predicted, max(again[0].probabilities.values()))
    assert list(again[0].probabilities) == CLASSES == classifier.classes


GREY = photo().convert("L")
TURNED = Image.Exif()
TURNED[0x0112] = 6
SAME = {
    "grey": (encode(GREY), GREY.convert("RGB")),
    "16 bits": (encode(Image.fromarray(np.asarray(GREY).astype(np.uint16) * 257)), GREY.convert("RGB")),
    "RGBA": (encode(photo().convert("RGBA")), photo()),
    "palette": (encode(photo().convert("P"), "GIF"), photo().convert("P").convert("RGB")),
    "rotated PNG": (encode(photo().transpose(Image.Transpose.ROTATE_90), exif=TURNED), photo()),
}


@pytest.mark.parametrize("name", SAME)
def test_modes_and_orientations_are_those_of_the_pipeline(classifier, name):
    data, upright = SAME[name]
    [found], [right] = classifier.predict(data), classifier.predict(encode(upright))
    assert found == right
    assert found.path == "-"


def test_a_rotated_jpeg_is_nearly_the_same(classifier):
    data = encode(photo().transpose(Image.Transpose.ROTATE_90), "JPEG", exif=TURNED, quality=100)
    [found], [right] = classifier.predict([data]), classifier.predict([encode(photo())])
    np.testing.assert_allclose(values(found), values(right), atol=0.02)


@pytest.mark.parametrize("kind", ["zip", "7z"])
def test_archives(classifier, photos, tmp_path, kind):
    archive = tmp_path / f"some.{kind}"
    with zipfile.ZipFile(archive, "w") if kind == "zip" else py7zr.SevenZipFile(archive, "w") as file:
        for path in photos.rglob("*.*"):
            file.write(path, str(path.relative_to(photos)))
    before = set(Path(tempfile.gettempdir()).glob("unfreeze-*"))
    found = list(classifier.predict([archive, photos]))
    assert [p.path for p in found[:3]] == [f"{archive}/{name}" for name in NAMES]
    for inside, outside in zip(found[:3], found[3:], strict=True):
        np.testing.assert_allclose(values(inside), values(outside), atol=1e-6)
    assert set(Path(tempfile.gettempdir()).glob("unfreeze-*")) == before
    renamed = archive.rename(tmp_path / "download")
    assert [p.path for p in classifier.predict(renamed)] == [f"{renamed}/{name}" for name in NAMES]


def test_archives_that_cannot_be_read_are_one_error(classifier, photos, tmp_path, monkeypatch):
    empty, damaged, bomb = (tmp_path / f"{name}.zip" for name in ("empty", "damaged", "bomb"))
    with zipfile.ZipFile(empty, "w") as file:
        file.writestr("readme.txt", "no image")
    damaged.write_bytes(b"PK\x03\x04 and nothing more")
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("x.bmp", bytes(10**6))
    usage = module.shutil.disk_usage(tmp_path)._replace(free=10**5)
    monkeypatch.setattr(module.shutil, "disk_usage", lambda folder: usage)
    found = list(classifier.predict([empty, damaged, bomb, photos / "a.png"]))
    assert [p.path for p in found] == [str(path) for path in (empty, damaged, bomb, photos / "a.png")]
    assert found[0].error == "no image in this archive"
    assert found[1].error.startswith("is damaged")
    assert "the free space in" in found[2].error and "TMPDIR" in found[2].error
    assert not found[3].error and found[0].predicted == ""


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
    assert errors == [
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


def test_links_loops_pipes_and_odd_names_in_folders(classifier, photos, capsys, model):
    (photos / "b.set/loop").symlink_to(photos)
    (photos / "link").symlink_to(photos / "b.set")
    (photos / "nothing.png").symlink_to(photos / "gone.png")
    os.mkfifo(photos / "pipe.png")
    found = [p.path.removeprefix(f"{photos}/") for p in classifier.predict(photos)]
    assert found == ["a.png", "b.set/c.png", "link/c.png", "nothing.png", "z.png"]
    odd = photos / "odd\n\x1b[2J\udc80.png"
    odd.write_bytes((photos / "a.png").read_bytes())
    _, out, err = call(capsys, model, odd)
    assert r"odd\n\x1b[2J\udc80.png" in out and "\x1b" not in out + err
    _, out, _ = call(capsys, model, odd, "--json")
    assert json.loads(out)["path"] == str(odd)


def test_a_giant_is_not_read(classifier, photos, monkeypatch):
    monkeypatch.setattr(module, "MAX_BYTES", 100)
    assert next(classifier.predict(photos / "a.png")).error == "larger than 100 bytes"


def test_memory_holds_one_batch(classifier, monkeypatch):
    """Sources are asked for one after another, and never more than a batch ahead."""
    asked = []

    def endless():
        while True:
            asked.append(encode(photo()))
            yield asked[-1]

    predictions = classifier.predict(endless())
    for _ in range(module.BATCH + 1):
        next(predictions)
    assert len(asked) == 2 * module.BATCH
    predictions.close()


def test_bad_files_do_not_shift_what_follows(classifier):
    sources = [b"" if i % 3 == 1 else encode(photo(i)) for i in range(40)]
    found = list(classifier.predict(sources))
    assert [bool(p.error) for p in found] == [i % 3 == 1 for i in range(40)]
    for i in (0, 2, 39):
        np.testing.assert_allclose(values(found[i]), values(next(classifier.predict(sources[i]))), atol=1e-6)
    assert all(p.error for p in classifier.predict([b""] * 3))
    assert list(classifier.predict([])) == []


def test_tta_is_the_mean_over_views_seen_alone(classifier, monkeypatch):
    data = encode(photo())
    pixels = decode_image(data, STORED, "crop").pixels[None]
    images = Images(pixels, SIZE, torch.device("cpu"))
    key = np.array([module._key(pixels[0])], np.uint64)
    monkeypatch.setattr(images, "_batch", lambda rows: torch.tensor(pixels))  # of whatever row
    view = images.augmented(key, 0, AugmentParams(**AUGMENT), 5, "tta")
    with torch.no_grad():
        both = [classifier.network(x).double().softmax(1) for x in (images.plain(np.array([0])), view)]
    [found] = classifier.predict(data, tta=1)
    np.testing.assert_allclose(values(found), np.mean([p[0].numpy() for p in both], 0), atol=1e-6)
    assert not torch.allclose(*both, atol=1e-4)


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
            main([str(model), *(["x.png"] if options else []), *options])
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


def test_real_odd_images(classifier, real_data):
    archive = real_data / "odd_images.7z"
    found = list(classifier.predict(archive))
    errors = {p.path.rpartition("/")[2]: p.error for p in found if p.error}
    assert len(found) == 57 and 10 < len(errors) < 20
    assert errors["empty.jpg"] == "empty file" and "Git-LFS" in next(e for n, e in errors.items() if "lfs" in n)
    for scene in ("Landscape", "Portrait"):
        turned = [values(p) for p in found if f"exif/{scene}_" in p.path]
        assert len(turned) == 8
        assert np.ptp(turned, axis=0).max() < 0.02  # compression, and a number in the middle


@pytest.fixture(scope="module")
def beside(tmp_path_factory) -> Path:
    """A random network of radar bands of 36 x 36, with an angle beside them that decides much."""
    folder = tmp_path_factory.mktemp("bands")
    head = build_head(2 * 512 + 2, len(CLASSES), HEAD, 1)
    head[2].weight.data[:, -2:] *= 20
    save_head(folder / "head.safetensors", head, HEAD, CLASSES, 0.01)
    model = ModelParams(arch="resnet18", weights="none", stem="imagenet", size=SIZE)
    normalisation = {"mean": [-20.0, -26.0, 6.0], "std": [3.0, 3.0, 2.0]}
    angle = {"name": "inc_angle", "median": 39.0, "mean": 39.0, "std": 3.0, "indicator": True}
    network, card, _ = assemble(
        model, folder / "head.safetensors", "crop", STORED, AUGMENT, 5, "bands_ratio", normalisation, [angle]
    )
    save_network(folder / "model.safetensors", network, card)
    return folder / "model.safetensors"


def radar(name, **changes):
    values = np.random.default_rng(7).normal(-20, 3, (2, STORED * STORED)).tolist()
    return {"id": name, "band_1": values[0], "band_2": values[1], "inc_angle": 39.0} | changes


def test_records_of_bands_are_classified_with_what_stands_beside_them(beside, tmp_path):
    classifier = Classifier(beside, device="cpu", precision="32")
    assert list(classifier.network.mean.flatten()) == [-20, -26, 6]
    angles = {"a": 39.0, "b": 45.0, "c": "na", "d": None, "e": "39.0"}
    made = [radar(name, inc_angle=angle) for name, angle in angles.items()]
    missing = radar("f")
    del missing["inc_angle"]
    (tmp_path / "new.json").write_text(json.dumps([*made, missing, radar("g", band_1=[1.0])]))
    found = list(classifier.predict(tmp_path, tta=1))
    assert [p.path.rpartition("/")[2] for p in found] == ["a", "b", "c", "d", "e", "f", "object 7"]
    assert found[6].error == "band_1 has 1 values (1 x 1), decode.size = 36 takes 1,296"
    a, b, c, d, e, f = (list(p.probabilities.values()) for p in found[:6])
    assert a == pytest.approx(e, abs=1e-6) and c == pytest.approx(d, abs=1e-6)
    assert c == pytest.approx(f, abs=1e-6)
    assert np.abs(np.subtract(a, b)).max() > 0.01 and np.abs(np.subtract(a, c)).max() > 0.01
    alone = list(classifier.predict((tmp_path / "new.json").read_bytes(), tta=1))
    assert alone[0].path == "-/a" and alone[1].probabilities == pytest.approx(found[1].probabilities, abs=1e-6)


def test_a_network_of_bands_takes_no_images_and_says_so(beside, photos, tmp_path):
    classifier = Classifier(beside, device="cpu", precision="32")
    (tmp_path / "broken.json").write_text('[{"id": 1}, {"id"')
    found = list(classifier.predict([photos, photos / "a.png", tmp_path / "broken.json"]))
    no_image, no_text, broken = (p.error for p in found if not p.path.endswith("object 1"))
    assert no_image == "no image in this folder"
    assert "not UTF-8 text" in no_text and "damaged after record 1" in broken


def test_a_network_of_grey_images_sees_every_image_in_grey(tmp_path):
    head = build_head(2 * 512, len(CLASSES), HEAD, 1)
    save_head(tmp_path / "head.safetensors", head, HEAD, CLASSES, 0.01)
    model = ModelParams(arch="resnet18", weights="none", stem="imagenet", size=SIZE)
    network, card, _ = assemble(model, tmp_path / "head.safetensors", "crop", STORED, AUGMENT, 5, "grey")
    save_network(tmp_path / "model.safetensors", network, card)
    loaded, again = load_network(tmp_path / "model.safetensors")
    assert again == card and len(card.mean) == 1
    assert all(torch.equal(a, b) for a, b in zip(loaded.parameters(), network.parameters(), strict=True))
    classifier = Classifier(tmp_path / "model.safetensors", device="cpu", precision="32")
    colour, grey = classifier.predict([encode(photo()), encode(photo().convert("L"))])
    assert colour.probabilities == pytest.approx(grey.probabilities, abs=0.02)
