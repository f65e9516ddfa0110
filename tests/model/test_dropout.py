import pytest
import torch

from unfreeze.model.fast.dropout import Dropout


@pytest.mark.parametrize("p", [0.25, 0.5, 0.1])
def test_dropout_keeps_the_mean_and_is_off_in_evaluation(p):
    values = torch.ones(1000, 200, dtype=torch.float64)
    dropout = Dropout(p)
    torch.manual_seed(1)
    first = dropout(values)
    torch.manual_seed(1)
    assert torch.equal(dropout(values), first) and not torch.equal(dropout(values), first)
    assert set(first.unique().tolist()) == {0.0, 1 / (1 - round(p * 2**16) / 2**16)}
    gone = (first == 0).double()
    assert gone.mean().item() == pytest.approx(p, abs=5 * (p * (1 - p) / 200_000) ** 0.5)
    assert first.double().mean().item() == pytest.approx(1, abs=0.01)
    # Each is dropped for itself, whatever its neighbours and those below it.
    for one, other in ((gone[:, 1:], gone[:, :-1]), (gone[1:], gone[:-1])):
        assert (one * other).mean().item() == pytest.approx(p**2, abs=0.005)
    assert dropout(values.bfloat16()).dtype == torch.bfloat16
    assert dropout.eval()(values) is values and Dropout(0.0)(values) is values


@pytest.mark.parametrize("shape", [(), (1,), (3,), (2, 3, 5), (0, 4)])
def test_dropout_takes_any_shape(shape):
    assert Dropout(0.5)(torch.ones(shape)).shape == shape


def test_dropout_gives_what_is_kept_its_gradient():
    values = torch.ones(100, requires_grad=True)
    out = Dropout(0.5)(values)
    out.sum().backward()
    assert torch.equal(values.grad, out.detach())
