import threading

import numpy as np
import pytest
import torch

from unfreeze.core.arrays import ArrayWriter, open_array
from unfreeze.features import write
from unfreeze.features.params import PrecomputeParams
from unfreeze.features.write import write_features
from unfreeze.model.backbones.base import Backbone
from unfreeze.model.network import Network
from unfreeze.views.images import Images
from unfreeze.views.predict import Predictor

PARAMS = PrecomputeParams(set="side_on", max_zoom=1.1, pad=0, skip=False, views=1)


@pytest.fixture
def network():
    """Its features are the largest value and the mean of each colour."""
    still = torch.nn.Identity()
    return Network(Backbone(still, still, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)), still)


@pytest.fixture
def images():
    pixels = np.random.default_rng(0).integers(0, 256, (150, 9, 9, 3), dtype=np.uint8)
    return Images(pixels, 8, torch.device("cpu"))


def test_features_are_written_block_by_block_in_the_order_of_rows(tmp_path, fabric, network, images, monkeypatch):
    monkeypatch.setattr(write, "WRITTEN_AT_ONCE", 64)
    (tmp_path / "features").mkdir()
    (tmp_path / "features/view_01.npy").touch()  # of an earlier run with more views
    assert write_features(tmp_path / "features", fabric, network, images, PARAMS, 1) == (150, 6)
    assert sorted(path.name for path in (tmp_path / "features").iterdir()) == ["plain.npy", "view_00.npy"]
    rows = np.arange(150)
    for name, views in (
        ("plain", images.plain(rows)),
        ("view_00", images.augmented(rows, 0, PARAMS, 1, "precompute")),
    ):
        expected = torch.cat([views.amax((2, 3)), views.mean((2, 3))], dim=1).numpy()
        assert np.allclose(open_array(tmp_path / f"features/{name}.npy"), expected, atol=1e-6)


def test_a_block_is_written_while_the_next_one_is_computed(tmp_path, fabric, network, images, monkeypatch):
    begun, waited = [threading.Event() for _ in range(3)], []

    def predict_blocks(predictor, blocks, *_):
        for each, rows in zip(begun, blocks, strict=True):
            each.set()
            yield torch.ones(len(rows), 6)

    def append(writer, rows):
        number = writer.rows // 64
        if number < 2:
            waited.append(begun[number + 1].wait(20))
        appended(writer, rows)

    appended = ArrayWriter.append
    monkeypatch.setattr(write, "WRITTEN_AT_ONCE", 64)
    monkeypatch.setattr(Predictor, "predict", lambda *_: torch.ones(1, 6))  # it tells the width
    monkeypatch.setattr(Predictor, "predict_blocks", predict_blocks)
    monkeypatch.setattr(ArrayWriter, "append", append)
    write_features(tmp_path / "features", fabric, network, images, PARAMS.model_copy(update={"views": 0}), 1)
    assert waited == [True, True] and open_array(tmp_path / "features/plain.npy").shape == (150, 6)


@pytest.mark.parametrize("block", [0, 1, 2])
def test_a_disk_that_is_full_stops_it_and_leaves_no_half_file(
    tmp_path, fabric, network, images, monkeypatch, block
):
    def append(writer, rows):
        if writer.rows == block * 64:
            raise OSError(28, "No space left on device")
        appended(writer, rows)

    appended = ArrayWriter.append
    monkeypatch.setattr(write, "WRITTEN_AT_ONCE", 64)
    monkeypatch.setattr(ArrayWriter, "append", append)
    with pytest.raises(OSError, match="No space left"):
        write_features(tmp_path / "features", fabric, network, images, PARAMS, 1)
    assert not list(tmp_path.iterdir())
