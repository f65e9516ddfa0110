import json

import pytest
import torch
from safetensors import safe_open
from stored_data import stored
from torch import nn

from unfreeze.core.console import UserError
from unfreeze.model.backbone import ModelParams, build_backbone
from unfreeze.model.head import HeadParams, build_head
from unfreeze.model.network import Network, assemble, load_head, load_network, save_head, save_network

COURSE = HeadParams(hidden=[512], dropout=[0.25, 0.5])
AUGMENT = {"set": "basic", "max_zoom": 1.1, "pad": 0}


@pytest.fixture
def network():
    return Network(build_backbone("resnet18", "none", 1), build_head(1024, 3, COURSE, 1))


def test_every_parameter_is_in_exactly_one_group(network):
    grouped = [id(p) for group in network.groups for p in group.parameters()]
    assert sorted(grouped) == sorted(id(p) for p in network.parameters())
    assert len(set(grouped)) == len(grouped)


def train_a_step(network):
    network.train()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    network(torch.rand(4, 3, 32, 32)).square().sum().backward()
    optimizer.step()


def snapshot(module):
    return {name: value.clone() for name, value in module.state_dict().items()}


def moved(before, module):
    return {name for name, value in module.state_dict().items() if not torch.equal(value, before[name])}


@pytest.mark.parametrize("group", [0, 1, 2])
def test_frozen_groups_do_not_move_neither_weights_nor_statistics(network, group):
    network.freeze_to(group)
    before = snapshot(network)
    train_a_step(network)
    changed = moved(before, network)
    for i, name in enumerate(["early.", "late.", "head."]):
        mine = {key for key in changed if key.startswith(name)}
        assert bool(mine) == (i >= group)
        if i >= group:
            assert any("running_mean" in key for key in mine) and any(key.endswith("weight") for key in mine)


def test_bn_freeze_keeps_the_backbone_s_statistics_while_weights_and_biases_train(network):
    network.bn_freeze = True
    before = snapshot(network)
    train_a_step(network)
    changed = moved(before, network)
    body = {key for key in changed if not key.startswith("head.")}
    assert not any("running" in key or "num_batches" in key for key in body)
    assert {"early.1.weight", "early.1.bias"} <= body  # the stem's BatchNorm
    assert any("running_mean" in key for key in changed if key.startswith("head."))


def test_the_head_on_features_equals_the_whole_network(network):
    network.eval()
    images = torch.rand(4, 3, 32, 32)
    assert torch.allclose(network.head(network.features(images)), network(images), atol=1e-6)


def test_a_network_comes_back_from_its_one_file_and_the_bytes_repeat(tmp_path, network):
    save_head(tmp_path / "head.safetensors", network.head, COURSE, ["a", "b", "ç"], 0.01)
    trained = load_head(tmp_path / "head.safetensors")
    assert (trained.params, trained.classes, trained.lr) == (COURSE, ["a", "b", "ç"], 0.01)
    assert not trained.head.training and not moved(snapshot(network.head), trained.head)
    model = ModelParams(arch="resnet18", weights="none", stem="imagenet", image_size=32)
    whole, card, lr = assemble(model, tmp_path / "head.safetensors", stored(36), AUGMENT, seed=1)
    assert lr == 0.01
    for name in ("one", "two"):
        save_network(tmp_path / name, whole, card)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    again, card_again = load_network(tmp_path / "one")
    assert card_again == card and card.classes == ["a", "b", "ç"] and card.stored_size == 36
    assert (card.augment, card.seed) == (AUGMENT, 1)
    images = torch.rand(2, 3, 32, 32)
    assert torch.equal(again(images), network.eval()(images))


def card_in(path):
    with safe_open(path, framework="pt") as file:
        assert list(file.metadata()) == ["unfreeze"]
        return json.loads(file.metadata()["unfreeze"])


def test_the_cards_in_the_files_keep_their_keys(tmp_path, network):
    """Whoever has a file of an earlier version reads it by these."""
    save_head(tmp_path / "head.safetensors", network.head, COURSE, ["a", "b", "c"], 0.01)
    assert list(card_in(tmp_path / "head.safetensors")) == ["classes", "dropout", "hidden", "lr"]
    model = ModelParams(arch="resnet18", weights="none", stem="small", image_size=32)
    numbers = [{"name": "age", "mean": 1.0}]
    data = stored(36, channels="rgba", numbers=numbers)
    whole, card, _lr = assemble(model, tmp_path / "head.safetensors", data, AUGMENT, seed=1)
    save_network(tmp_path / "model.safetensors", whole, card)
    card = card_in(tmp_path / "model.safetensors")
    assert list(card) == [
        "arch", "augment", "channels", "classes", "dropout", "fit", "hidden", "mean", "numbers", "seed", "size",
        "std", "stem", "stored_size", "thresholds", "weights",
    ]  # fmt: skip
    assert (card["size"], card["stored_size"], card["channels"], card["numbers"]) == (32, 36, "rgba", numbers)
    assert len(card["mean"]) == len(card["std"]) == 4


def test_a_network_built_for_one_size_comes_back_for_that_size(tmp_path):
    save_head(tmp_path / "head.safetensors", build_head(1536, 2, COURSE, 1), COURSE, ["a", "b"], None)
    model = ModelParams(arch="vit_b_32", weights="none", stem="imagenet", image_size=64)
    whole, card, _ = assemble(model, tmp_path / "head.safetensors", stored(64), AUGMENT, seed=1)
    path = tmp_path / "model.safetensors"
    save_network(path, whole, card)
    again, _card = load_network(path)
    path.unlink()  # 350 MB
    images = torch.rand(2, 3, 64, 64)
    assert torch.equal(again(images), whole.eval()(images))


def test_damaged_and_foreign_files_are_refused(tmp_path, network):
    path = tmp_path / "x.safetensors"
    with pytest.raises(UserError, match="is not there"):
        load_network(path)
    with pytest.raises(UserError, match="is damaged or was not written by unfreeze"):
        load_network(tmp_path)
    path.write_bytes(b"hello")
    with pytest.raises(UserError, match="is damaged or was not written by unfreeze"):
        load_network(path)
    save_head(path, network.head, COURSE, ["a", "b", "c"], None)
    with pytest.raises(UserError, match="does not describe a network"):
        load_network(path)


def test_normalisation_is_part_of_the_network(network):
    inputs = []
    network.early.register_forward_pre_hook(lambda module, args: inputs.append(args[0]))
    network.eval()(torch.full((1, 3, 32, 32), 0.5))
    expected = (0.5 - torch.tensor([0.485, 0.456, 0.406])) / torch.tensor([0.229, 0.224, 0.225])
    assert torch.allclose(inputs[0][0, :, 0, 0], expected)
    assert isinstance(network.early, nn.Sequential)
