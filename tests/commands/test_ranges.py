"""New images of 16 bits get the range of those that the network was trained on."""

from dataclasses import replace

import numpy as np
import pytest
from made_up_network import encode, photo, values
from PIL import Image

from unfreeze.commands.classifier import Classifier
from unfreeze.model.network import load_network, save_network

GREY = np.asarray(photo().convert("L"))


def classify(model, caplog, *images: bytes) -> list[list[float]]:
    caplog.set_level("WARNING", "unfreeze")
    return [values(each) for each in Classifier(model, device="cpu", precision="32").predict(list(images))]


@pytest.fixture
def model_of_12_bits(model, tmp_path):
    network, card = load_network(model)
    save_network(tmp_path / "deep.safetensors", network, replace(card, ranges={"integers": [0, 4095]}))
    assert load_network(tmp_path / "deep.safetensors")[1].ranges == {"integers": [0, 4095]}
    return tmp_path / "deep.safetensors"


def test_the_range_of_training_holds(model_of_12_bits, caplog):
    dark = GREY // 8  # of which alone nobody could tell the bits
    plain, deep = encode(Image.fromarray(dark)), encode(Image.fromarray(dark.astype(np.uint16) << 4), "TIFF")
    first, second = classify(model_of_12_bits, caplog, plain, deep)
    np.testing.assert_allclose(first, second, atol=1e-6)
    assert caplog.text == ""


def test_a_network_of_8_bits_says_what_it_takes(model, caplog):
    files = [encode(Image.fromarray(GREY.astype(np.uint16) << 8), "TIFF")] * 2 + [encode(photo())]
    classify(model, caplog, *files)
    [record] = caplog.records
    assert "0 is black and 65,535 white" in record.message and str(model) in record.message


def test_the_file_of_a_network_of_8_bits_has_no_such_key(model):
    assert b'\\"ranges\\"' not in model.read_bytes() and load_network(model)[1].ranges == {}
