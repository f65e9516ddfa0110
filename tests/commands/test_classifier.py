"""What a network says of images: the classifier and its Python door."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from made_up_network import (
    AUGMENT,
    CLASSES,
    HEAD,
    NAMES,
    SIZE,
    STORED,
    encode,
    photo,
    values,
)
from PIL import Image
from stored_data import stored

from unfreeze.archive.extract import Destination, extract
from unfreeze.commands import classifier as module
from unfreeze.commands.classifier import Classifier, predict
from unfreeze.core import tables
from unfreeze.core.arrays import open_array
from unfreeze.evaluate.tta import Views, predict_views
from unfreeze.images.convert import decode_image
from unfreeze.images.decode import DecodeParams, decode_tar
from unfreeze.images.members import ExtractedTar
from unfreeze.images.outs import ImageFiles
from unfreeze.model.backbone import ModelParams
from unfreeze.model.head import build_head
from unfreeze.model.network import assemble, load_network, save_head, save_network
from unfreeze.task.kinds import build_task
from unfreeze.views.augment import AugmentParams
from unfreeze.views.images import Images


def test_an_image_of_the_pipeline_gets_its_probabilities_again(model, classifier, photos, tmp_path, fabric):
    extract(photos, Destination(tmp_path / "x.tar", tmp_path / "x.csv"), 10**9)
    decode_tar(
        source=ExtractedTar(tar=tmp_path / "x.tar", index=tmp_path / "x.csv"),
        params=DecodeParams(image_size=STORED, fit="crop", channels="rgb", max_rejected=0.5),
        out=ImageFiles.in_folder(tmp_path),
        workers=1,
    )
    pixels = open_array(tmp_path / "pixels.npy")
    network, card = load_network(model)
    images = Images(pixels, card.size, fabric.device)
    views = Views(images=images, count=0, augment=AugmentParams(**card.augment), seed=card.seed)
    rows, task = np.arange(len(pixels)), build_task(card.classes, card.thresholds)
    plain, _ = predict_views(fabric, network, views=views, rows=rows, batch_size=32, task=task)
    table = tables.read(tmp_path / "images.csv", {"path": "text", "row": "int"})
    assert table["path"].tolist() == NAMES
    for path, row in table.itertuples(index=False):
        [found] = classifier.predict(photos / path)
        np.testing.assert_allclose(values(found), plain[row], atol=1e-6)


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


def test_memory_holds_one_batch(classifier, monkeypatch):
    """Sources are asked for one after another, and never more than a batch ahead."""
    asked = []

    def endless():
        while True:
            asked.append(encode(photo()))
            yield asked[-1]

    predictions = classifier.predict(endless())
    for _ in range(module.BATCH_SIZE + 1):
        next(predictions)
    assert len(asked) == 2 * module.BATCH_SIZE
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
    key = np.array([module._hash_image(pixels[0], np.empty(0, np.float32))], np.uint64)
    monkeypatch.setattr(images, "_read", lambda rows: torch.tensor(pixels))  # of whatever row
    view = images.augmented(key, 0, AugmentParams(**AUGMENT), 5, "tta")
    with torch.no_grad():
        both = [classifier.network(x).double().softmax(1) for x in (images.plain(np.array([0])), view)]
    [found] = classifier.predict(data, tta=1)
    np.testing.assert_allclose(values(found), np.mean([p[0].numpy() for p in both], 0), atol=1e-6)
    assert not torch.allclose(*both, atol=1e-4)


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
    model = ModelParams(arch="resnet18", weights="none", stem="imagenet", image_size=SIZE)
    normalisation = {"mean": [-20.0, -26.0, 6.0], "std": [3.0, 3.0, 2.0]}
    angle = {"name": "inc_angle", "median": 39.0, "mean": 39.0, "std": 3.0, "indicator": True}
    network, card, _ = assemble(
        model, folder / "head.safetensors", stored(STORED, "bands_ratio", normalisation, [angle]), AUGMENT, 5
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
    assert found[6].error == "band_1 has 1 values (1 x 1), decode.image_size = 36 takes 1,296"
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
    model = ModelParams(arch="resnet18", weights="none", stem="imagenet", image_size=SIZE)
    network, card, _ = assemble(model, tmp_path / "head.safetensors", stored(STORED, "grey"), AUGMENT, 5)
    save_network(tmp_path / "model.safetensors", network, card)
    loaded, again = load_network(tmp_path / "model.safetensors")
    assert again == card and len(card.mean) == 1
    assert all(torch.equal(a, b) for a, b in zip(loaded.parameters(), network.parameters(), strict=True))
    classifier = Classifier(tmp_path / "model.safetensors", device="cpu", precision="32")
    colour, grey = classifier.predict([encode(photo()), encode(photo().convert("L"))])
    assert colour.probabilities == pytest.approx(grey.probabilities, abs=0.02)
