import pytest

from unfreeze.model.head import HeadParams, build_head

COURSE = HeadParams(hidden=[512], dropout=[0.25, 0.5])


def test_the_head_is_the_course_s():
    head = build_head(1024, 2, COURSE, 0)
    assert [type(layer).__name__ for layer in head] == [
        "BatchNorm1d", "Dropout", "Linear", "ReLU", "BatchNorm1d", "Dropout", "Linear",
    ]  # fmt: skip
    assert sum(p.numel() for p in head.parameters()) == 528_898
    assert [head[1].p, head[5].p] == [0.25, 0.5]
    assert head[2].weight.std().item() == pytest.approx((2 / 1024) ** 0.5, rel=0.01)  # Kaiming, fan in
    assert not head[2].bias.any()


def test_no_hidden_layer_is_the_linear_probe():
    head = build_head(10, 2, HeadParams(hidden=[], dropout=[0.5]), 0)
    assert [type(layer).__name__ for layer in head] == ["BatchNorm1d", "Dropout", "Linear"]
