import numpy as np
import pytest
import torch
from small_training import CPU, HEAD

from unfreeze.features import read
from unfreeze.features.read import Features, StoredFeatures, read_features
from unfreeze.model.backbone import build_backbone
from unfreeze.model.head import build_head
from unfreeze.model.network import Network
from unfreeze.views.images import Images


def write_views(folder, extra):
    """Write features of 50 images, 7 an image, in three views, and numbers; return all of them as in memory."""
    rng = np.random.default_rng(0)
    views = [rng.normal(size=(50, 7)).astype(np.float32) for _ in range(3)]
    numbers = rng.normal(size=(50, extra)).astype(np.float32)
    for name, array in zip(("plain", "view_00", "view_01"), views, strict=True):
        np.save(folder / f"{name}.npy", array)
    with (folder / "beside").open("wb") as file:
        np.save(file, numbers)
    return Features(torch.from_numpy(np.stack([np.concatenate([view, numbers], 1) for view in views])))


def test_an_epoch_draws_one_cached_view_of_each_image():
    views = torch.arange(5.0)[:, None, None] + 10 * torch.arange(400.0)[None, :, None]  # [view, row, 1]
    features, rows = Features(views), np.arange(400)
    epochs = [features.draw(rows, epoch, 1, "head")[:, 0] for epoch in (0, 1)]
    for values in epochs:
        assert torch.equal(values // 10, torch.arange(400.0))  # rows stay theirs
        counts = torch.bincount((values % 10).long(), minlength=5)
        assert len(counts) == 5 and counts.min() > 50  # every view, the plain one too
    assert not torch.equal(*epochs)
    assert torch.equal(features.draw(rows[[7, 3]], 0, 1, "head")[:, 0], epochs[0][[7, 3]])
    assert torch.equal(features.plain(rows)[:, 0], 10 * torch.arange(400.0))


@pytest.mark.parametrize("extra", [0, 2])
def test_stored_features_are_those_in_memory_to_the_bit(tmp_path, extra):
    resident = write_views(tmp_path, extra)
    stored = read_features(tmp_path, tmp_path / "beside", CPU)
    assert isinstance(stored, StoredFeatures)
    assert (stored.count, stored.width) == (resident.count, resident.width) == (50, 7 + extra)
    rows = np.random.default_rng(1).permutation(50)[:20]
    assert torch.equal(stored.plain(rows), resident.plain(rows))
    assert torch.equal(stored.draw(rows, 1, 5, "key"), resident.draw(rows, 1, 5, "key"))


def test_features_are_kept_on_a_gpu_that_has_room_for_them(tmp_path, monkeypatch):
    expected = write_views(tmp_path, 2)
    monkeypatch.setattr(read, "fits_on_gpu", lambda device, size: size == 3 * 50 * 9 * 4)
    monkeypatch.setattr(read, "READ_AT_ONCE", 16)
    resident = read_features(tmp_path, tmp_path / "beside", CPU)
    assert type(resident) is Features and torch.equal(resident.views, expected.views)


def test_numbers_join_the_features_alike_in_the_head_and_in_the_network(tmp_path):
    """The head on cached features beside numbers says what the whole network says."""
    pixels = np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3), np.uint8)
    numbers = np.random.default_rng(1).normal(size=(6, 2)).astype(np.float32)
    network = Network(build_backbone("resnet18", "none", 1), build_head(1024 + 2, 2, HEAD, 1)).eval()
    images = Images(pixels, 32, CPU, numbers=numbers)
    with torch.no_grad():
        np.save(tmp_path / "plain.npy", network.features(images.plain(np.arange(6))[0]).numpy())
        np.save(tmp_path / "numbers.npy", numbers)
        features = read_features(tmp_path, tmp_path / "numbers.npy", CPU)
        assert features.width == 1026
        rows = np.array([4, 0])
        assert torch.allclose(network.head(features.plain(rows)), network(*images.plain(rows)), atol=1e-5)
