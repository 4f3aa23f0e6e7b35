"""What is no batch is refused in words, at every door: generators, loaders, halves of a pair."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import lazyrich
from lazyrich import InputError

ROOT = Path(__file__).parents[2]
X, Y = torch.randn(9, 3), torch.randn(9, 1)
LOADER = DataLoader(TensorDataset(X, Y), batch_size=3)


def network(width=4):
    return nn.Sequential(nn.Linear(3, width), nn.Tanh(), nn.Linear(width, 1))


def dialled(batch):
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    lazyrich.dial(model, batch, optimizer=optimizer, richness=0.1)


def checked(batch):
    lazyrich.coordinate_check(network, batch, widths=[4, 8, 16], optimizer=0.1, steps=1, seeds=1)


DOORS = {
    "Probe": lambda batch: lazyrich.Probe(network(), batch).measure(0),
    "forecast": lambda batch: lazyrich.forecast(network(), batch),
    "richness": lambda batch: lazyrich.richness(network(), batch),
    "initial_cnfa": lambda batch: lazyrich.initial_cnfa(network(), batch),
    "dial": dialled,
    "coordinate_check": checked,
}
OF_INPUTS = {
    "nfa": lambda x: lazyrich.nfa(network(), x),
}
BATCHES = {
    "a generator": lambda: (batch for batch in LOADER),
    "an iterator": lambda: iter(LOADER),
    "a map": lambda: map(tuple, LOADER),
    "a loader": lambda: LOADER,
    "a data set": lambda: LOADER.dataset,
    "a generator of inputs": lambda: ((x for x in X), Y),
    "a generator of targets": lambda: (X, (y for y in Y)),
    "arrays": lambda: (X.numpy(), Y.numpy()),
    "inputs alone": lambda: (X, None),
    "targets alone": lambda: (None, Y),
    "three": lambda: (X, Y, Y),
    "names": lambda: {"x": X, "y": Y},
    "numbers": lambda: (1.0, 2.0),
    "text": lambda: "ab",
    "nothing": lambda: None,
}
INPUTS = ("a generator", "an iterator", "a map", "a loader", "a data set", "numbers", "nothing")


def said(call):
    """What a door answers, as a user sees it: without the type checks of these tests."""
    try:
        call()
    except InputError as error:
        return str(error)
    except Exception as error:
        return f"raw {type(error).__name__}: {error}"
    return "taken"


def answers():
    pairs = {f"{door}, {kind}": (DOORS[door], BATCHES[kind]) for door in DOORS for kind in BATCHES}
    pairs |= {f"{d}, {kind}": (OF_INPUTS[d], BATCHES[kind]) for d in OF_INPUTS for kind in INPUTS}
    return {name: said(lambda: door(batch())) for name, (door, batch) in pairs.items()}  # noqa: B023


@pytest.fixture(scope="module")
def answered():
    code = "import json; from tests.probe.test_batches import answers; print(json.dumps(answers()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("door", [*DOORS, *OF_INPUTS])
def test_what_is_no_batch_is_refused_in_words(answered, door):
    own = {name: text for name, text in answered.items() if name.startswith(f"{door}, ")}
    assert len(own) >= len(INPUTS)
    for name, text in own.items():
        assert re.search(r"must .*, got .*\. ", text), (name, text)


SEQUENCES = [torch.randn(length, 3) for length in (2, 4, 1)]


@pytest.mark.parametrize(
    ("x", "kind"),
    [
        (nn.utils.rnn.pack_sequence(SEQUENCES, enforce_sorted=False), "a PackedSequence"),
        ((nn.utils.rnn.pack_sequence(SEQUENCES, enforce_sorted=False),), "a PackedSequence"),
        (torch.nested.nested_tensor(SEQUENCES, layout=torch.jagged), "a nested tensor"),
        ({"x": torch.nested.nested_tensor(SEQUENCES, layout=torch.jagged)}, "a nested tensor"),
    ],
)
def test_ragged_inputs_are_refused_with_what_to_do(x, kind):
    with pytest.raises(InputError, match=f"got {kind}. Pass padded sequences and their lengths"):
        lazyrich.Probe(network(), (x, Y[:3]))


class Wide(nn.Module):
    """Takes rows that may be sparse, in every way that PyTorch has for it."""

    def __init__(self):
        super().__init__()
        self.table, self.other = nn.Parameter(torch.randn(8, 4)), nn.Linear(8, 4)
        self.head = nn.Linear(4, 2)

    def forward(self, x):
        h = torch.sparse.mm(x, self.table) if x.is_sparse else x @ self.table
        return self.head(torch.tanh(h + x @ self.other.weight.T + self.other.bias))


@pytest.mark.parametrize("layout", [torch.sparse_coo, torch.sparse_csr])
@pytest.mark.filterwarnings("ignore:Sparse .* tensor support is in beta")
def test_sparse_inputs_are_measured_as_dense_ones(layout):
    torch.manual_seed(0)
    model, dense = Wide(), torch.randn(40, 8) * (torch.rand(40, 8) < 0.3)
    sparse = dense.to_sparse(layout=layout)
    torch.testing.assert_close(lazyrich.ntk(model, sparse), lazyrich.ntk(model, dense))
    found, right = (lazyrich.Probe(model, (x, torch.randn(40, 2))) for x in (sparse, dense))
    for probe in (found, right):
        probe.measure(0)
    assert found.history.samples == 32
    assert "other" in found.history.layer
    assert found.history.nfa.sel(layer="other") == pytest.approx(
        right.history.nfa.sel(layer="other"), rel=1e-3
    )
