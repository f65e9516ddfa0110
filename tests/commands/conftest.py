"""A made-up network, loaded once, and a folder of images."""

from pathlib import Path

import pytest
from made_up_network import make_model, write_photos

from unfreeze.commands.classifier import Classifier


@pytest.fixture(scope="session")
def model(tmp_path_factory) -> Path:
    return make_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="session")
def classifier(model) -> Classifier:
    return Classifier(model, device="cpu", precision="32")


@pytest.fixture
def photos(tmp_path) -> Path:
    return write_photos(tmp_path / "photos")
