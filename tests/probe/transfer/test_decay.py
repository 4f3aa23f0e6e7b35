"""Weight decay: the share of the weights that a step takes is the same whatever the factor."""

import pytest
import torch
from torch import nn
from torch.optim import SGD, Adadelta, Adafactor, Adam, AdamW, Muon, NAdam, Optimizer, RMSprop

from lazyrich.optim import SpeedLimited
from lazyrich.probe.transfer.decay import decay_follows_rate
from lazyrich.probe.transfer.family import split_groups


class Lion(Optimizer):
    """Not one of PyTorch's, and it does not say how it decays."""

    def __init__(self, params, lr, weight_decay, through_gradient=False):
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay})
        self.through_gradient = through_gradient

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            lr, decay = group["lr"], group["weight_decay"]
            for p in group["params"]:
                if self.through_gradient:
                    p.sub_((p.grad + decay * p).sign(), alpha=lr)
                else:
                    p.mul_(1 - lr * decay).sub_(p.grad.sign(), alpha=lr)


def coupled(params, **given):
    return Lion(params, through_gradient=True, **given)


MATRICES = [
    (SGD, True),
    (AdamW, True),
    (Adafactor, True),
    (Muon, True),
    (Lion, True),
    (Adam, False),
    (NAdam, False),
    (RMSprop, False),
    (Adadelta, False),
    (coupled, False),
]


def net():
    return nn.Sequential(nn.Linear(3, 4, bias=False), nn.Tanh(), nn.Linear(4, 2, bias=False))


@pytest.mark.parametrize(("kind", "follows"), MATRICES)
def test_the_share_that_a_step_takes_without_a_gradient_keeps_its_size(kind, follows):
    taken = []
    for factor in (1.0, 0.25):
        torch.manual_seed(0)
        model = net()
        before = [p.detach().clone() for p in model.parameters()]
        optimizer = kind(model.parameters(), lr=0.01, weight_decay=0.1)
        assert decay_follows_rate(optimizer, model) == [follows]
        assert not optimizer.state
        assert all(torch.equal(p, q) for p, q in zip(model.parameters(), before, strict=True))
        split_groups(optimizer, model, {"0.weight": factor, "2.weight": factor})
        for p in model.parameters():
            p.grad = torch.zeros_like(p)
        optimizer.step()
        taken.append([1 - p / q for p, q in zip(model.parameters(), before, strict=True)])
    for once, then in zip(*taken, strict=True):
        assert torch.allclose(once, then, rtol=1e-3) is follows


def test_a_wrapper_shows_the_groups_of_the_one_inside():
    model = net()
    optimizer = SpeedLimited(
        AdamW(model.parameters(), weight_decay=0.1), model=model, speeds={"": 1.0}
    )
    split_groups(optimizer, model, {"0.weight": 0.5})
    assert [group["lr"] for group in optimizer.optimizer.param_groups] == [0.0005, 0.001]
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.2, 0.1]


@pytest.mark.parametrize("kind", [Lion, coupled])
def test_every_group_is_looked_at(kind):
    model = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4))
    groups = [
        {"params": [p for p in model.parameters() if p.ndim > 1]},
        {"params": [p for p in model.parameters() if p.ndim == 1], "weight_decay": 0.0},
    ]
    optimizer = kind(groups, lr=0.01, weight_decay=0.1)
    assert decay_follows_rate(optimizer, model) == [kind is Lion, False]
