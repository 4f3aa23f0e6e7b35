"""The runs of the paper on alignment: left structure, schedules, dropped biases, high dimension."""

from copy import deepcopy

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("matplotlib")

import torch
from papers.beaglehole2024alignment import fig6, fig7, left, watched
from papers.beaglehole2024alignment.early import Quadratic
from papers.beaglehole2024alignment.watched import Watched
from torch import nn

import lazyrich as lr

TINY = {"data": "digits", "samples": 200, "test_samples": 50, "epochs": 3, "points": 2}


@pytest.fixture
def network():
    torch.manual_seed(0)
    layers = nn.Linear(6, 9, bias=False), nn.ReLU(), nn.Linear(9, 8), nn.Tanh(), nn.Linear(8, 3)
    return nn.Sequential(*layers).double()


@pytest.fixture
def x():
    return torch.randn(40, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def test_left_measures_are_those_of_explicit_matrices(network, x):
    """F = WᵀW and G = WᵀKW formed in full, G^½ by its own eigenvectors."""
    for name, k in left.tangent_covariances(network, x).items():
        w = network.state_dict()[f"{name}.weight"]
        f, g = w.T @ w, w.T @ k @ w
        values, vectors = torch.linalg.eigh(g)
        root = (vectors * values.clamp_min(0).sqrt()) @ vectors.T
        b = w @ w.T
        cosine = lambda a, c: float((a * c).sum() / (a.norm() * c.norm()))  # noqa: E731
        assert float(left.ansatz_of_power_1(b, k)) == pytest.approx(cosine(f, g), abs=1e-12)
        assert float(left.ansatz_of_power_half(b, k)) == pytest.approx(cosine(f, root), abs=1e-7)
        assert float(left.left_alignment(b, k)) == pytest.approx(cosine(b, k), abs=1e-12)


def test_tangent_covariances_are_those_of_nfa(network, x):
    found = left.left_structure(network, x, seed=0)
    table = lr.nfa(network, x, directions="all")
    assert table.layer.values.tolist() == ["0", "2"]
    assert found["power_1"] == pytest.approx(table.nfa.values, abs=1e-10)


def test_null_of_left_structure_is_the_mean_over_rotations(network, x):
    """Against the closed form of the null at power 1, and tr B tr K/(k ‖B‖ ‖K‖) on the left."""
    found = left.left_structure(network, x, seed=0)
    table = lr.nfa(network, x, directions="all")
    assert found["power_1_null"] == pytest.approx(table.nfa_null.values, abs=0.05)
    for i, (name, k) in enumerate(left.tangent_covariances(network, x).items()):
        w = network.state_dict()[f"{name}.weight"]
        b = w @ w.T
        exact = float(b.trace() * k.trace() / (len(k) * b.norm() * k.norm()))
        assert found["left_null"][i] == pytest.approx(exact, abs=0.05)


def test_rotations_are_orthogonal():
    for q in left._rotations(12, torch.Generator().manual_seed(0)):
        assert float((q @ q.T - torch.eye(12, dtype=q.dtype)).abs().max()) < 1e-12


def test_the_algebra_of_both_powers():
    """K = WWᵀ makes the ansatz of power ½ perfect and not that of power 1; K = 1 the reverse."""
    found = {name: part.value for name, part in fig6._algebra().items()}
    assert found["power_half: distance from 1 where K = WWᵀ"] < 1e-6
    assert found["power_1: distance from 1 where K = 1"] < 1e-12
    assert found["power_1 where K = WWᵀ"] < 0.99
    assert found["left alignment where K = 1"] < 0.9


def test_a_cosine_schedule_comes_to_rest():
    run = Watched(**TINY, lr=0.1, width=8, seed=0, schedule="cosine")
    assert [round(run._share(epoch), 3) for epoch in (0, 1.5, 3)] == [1.0, 0.5, 0.0]
    assert Watched(**TINY, lr=0.1, width=8, seed=0)._share(3) == 1.0


def test_a_run_records_both_nulls_and_its_left_structure():
    found = Watched(**TINY, lr=0.1, width=8, measured=50, seed=0).run().data
    for name in ("cnfa_null", "nfa_null"):
        assert found[name].dims == ("epoch", "layer")
        assert bool(found[name].notnull().all())
    assert {"left", "left_null", "power_half"} <= set(found.data_vars)
    assert bool((abs(found.left) <= 1 + 1e-9).all())


def test_without_biases_only_the_biases_are_gone():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8, 2))
    before = deepcopy(network.state_dict())
    made = watched._without_biases(network).state_dict()
    for name, value in before.items():
        assert torch.equal(network.state_dict()[name], value), "the network itself is as it was"
        wanted = torch.zeros_like(value) if name.endswith("bias") else value
        assert torch.equal(made[name], wanted)


def test_a_convolutional_run_is_measured_with_and_without_biases():
    sizes = {"data": "digits", "samples": 64, "test_samples": 20, "epochs": 1, "points": 2}
    run = Watched(**sizes, network="vgg11", width=4, batch_size=32, lr=0.1, measured=20, seed=0)
    found = run.run().data
    for name in watched.BARE:
        assert found[f"{name}_without_biases"].dims == ("layer",)


def test_high_dimension_aligns_where_width_and_samples_outgrow_it():
    """From 16 to 48 dimensions 1 − ρ falls by a third or more; in proportion it does not."""

    def distance(dimension, width):
        sizes = {"dimension": dimension, "width": width, "samples": 2 * width}
        runs = [Quadratic(target="signs", alpha=0.0, seed=seed, **sizes).run() for seed in range(5)]
        return 1 - np.mean([float(run.data.measured) for run in runs])

    assert distance(48, 288) < 0.67 * distance(16, 32)
    assert distance(48, 48) > 0.8 * distance(16, 16)


@pytest.mark.parametrize(
    ("power", "words"), [(-0.7, "it tends to 1"), (0.0, "it keeps its"), (0.7, "it falls further")]
)
def test_the_words_of_figure_7_follow_the_power(power, words):
    one = {
        "value": power,
        "low": power - 0.1,
        "high": power + 0.1,
        "n": 5,
        "of": "95 % interval of",
    }
    names = ("power of 1 − ρ", "power of the fluctuation", "above the null at the largest d")
    findings = {f"{s}: {n}": one for s in fig7.SETTINGS for n in (*names, "ρ at the largest d")}
    said = fig7.found({"findings": findings})
    assert said.count(words) == 2
