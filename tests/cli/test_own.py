"""`lazyrich diagnose` with data, loss and optimiser of one's own, and between two files."""

import copy
import json
import sys

import pytest
import torch

import lazyrich

from .run import answer, refusal, run

PARTS = """
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

def net():
    return nn.Sequential(nn.Linear(3, 16), nn.Tanh(), nn.Linear(16, 1))

def digits_net():
    return nn.Sequential(nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 10))

def data():
    x = torch.randn(40, 3)
    return x, x[:, :1] * x[:, 1:2]

class TwoInputs(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(3, 8), nn.Linear(11, 1)

    def forward(self, a, b):
        return self.second(torch.cat([self.first(a).tanh(), b], 1))

def two():
    return TwoInputs()

def nested():
    x, y = data()
    return (x, x.flip(1)), y

def labelled():
    x, y = data()
    return {"input": x, "labels": y}

def labelled_loader():
    x, y = data()
    return DataLoader([{"input": a, "labels": b} for a, b in zip(x, y)], batch_size=8)

def unlabelled():
    return {"input": torch.randn(4, 3)}

def loader():
    return DataLoader(TensorDataset(*data()), batch_size=8)

def huber(outputs, targets):
    return nn.functional.huber_loss(outputs, targets)

def labels_loss(outputs, labels):
    assert labels.dtype == torch.int64
    return nn.functional.cross_entropy(outputs, labels, label_smoothing=0.1)

def adam(network):
    return torch.optim.Adam(network.parameters(), lr=0.02)

def lbfgs(network):
    return torch.optim.LBFGS(network.parameters(), lr=0.05, max_iter=1)

def too_fast(network):
    return torch.optim.SGD(network.parameters(), lr=1e6)

def still(network):
    return torch.optim.SGD(network.parameters(), lr=0.0)

def number(*_):
    return 3

def fails(*_):
    raise RuntimeError("no such thing\\nhere")

def stranger(_):
    return torch.optim.SGD(nn.Linear(1, 1).parameters(), lr=0.1)

def uneven():
    return torch.randn(4, 3), torch.randn(5, 1)

def three():
    return torch.randn(4, 3), torch.randn(4, 1), torch.randn(4, 1)

def words():
    return torch.randn(4, 3), "targets"

def empty():
    return DataLoader([], batch_size=2)

def bad_batches():
    return DataLoader(torch.randn(6, 3), batch_size=2)

def vector_loss(outputs, targets):
    return (outputs - targets).square()[:, 0]

def number_loss(outputs, targets):
    return 1.0
"""

QUICK = ("--epochs", 3, "--batch-size", 10)


@pytest.fixture
def parts(tmp_path, monkeypatch):
    (tmp_path / "parts.py").write_text(PARTS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "parts", raising=False)
    return tmp_path


def found(*arguments):
    done = run("diagnose", *arguments, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


OWN = ("parts:net", "--data", "parts:data", "--loss", "mse")


@pytest.mark.usefixtures("parts")
def test_own_data_are_learned():
    one, same = (found(*OWN, *QUICK, "--lr", 0.1) for _ in range(2))
    assert one["loss"][1] < one["loss"][0]
    assert [layer["name"] for layer in one["layers"]] == ["0", "2"]
    assert one["predicted_regime"] is not None
    for result in (one, same):
        result.pop("overhead")
    assert one == same


@pytest.mark.usefixtures("parts")
@pytest.mark.parametrize(
    ("arguments", "falls"),
    [
        (("parts:net", "--data", "parts:loader", "--loss", "mse", "--lr", 0.1), True),
        (("parts:net", "--data", "parts:labelled", "--loss", "mse", "--lr", 0.1), True),
        (("parts:net", "--data", "parts:labelled_loader", "--loss", "mse", "--lr", 0.1), True),
        (("parts:two", "--data", "parts:nested", "--loss", "mse", "--lr", 0.1), True),
        (("parts:net", "--data", "parts:data", "--loss", "parts:huber", "--lr", 0.1), True),
        (
            (
                "parts:net",
                "--data",
                "parts:data",
                "--loss",
                "torch.nn.functional:l1_loss",
                "--lr",
                0.01,
            ),
            None,
        ),
        ((*OWN, "--optimizer", "parts:adam"), True),
        ((*OWN, "--optimizer", "parts:lbfgs"), True),
        ((*OWN, "--samples", 20), None),
    ],
)
def test_own_batches_losses_and_optimisers(arguments, falls):
    result = found(*arguments, *QUICK)
    assert result["regime"] != "unstable"
    if falls:
        assert result["loss"][1] < result["loss"][0]


@pytest.mark.usefixtures("parts")
def test_what_is_printed_is_in_words():
    done = run("diagnose", *OWN, *QUICK, "--optimizer", "parts:adam")
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines()[-1].startswith("What now? ")
    assert "Forecast: " in done.stdout
    assert "; watching took" in done.stdout


@pytest.mark.usefixtures("parts")
def test_an_own_loss_gets_the_labels_of_known_data():
    arguments = ("parts:digits_net", "--samples", 128, "--epochs", 2, "--lr", 0.1)
    result = found(*arguments, "--loss", "parts:labels_loss")
    assert result["loss"][1] < result["loss"][0]
    result = found(*arguments[:-2], "--optimizer", "parts:adam")
    assert result["loss"][1] < result["loss"][0]


@pytest.mark.usefixtures("parts")
def test_an_own_optimiser_that_diverges_or_stands_still_is_a_verdict():
    assert found(*OWN, *QUICK, "--optimizer", "parts:too_fast")["regime"] == "unstable"
    still = found(*OWN, *QUICK, "--optimizer", "parts:still")
    assert still["regime"] == "frozen"
    assert "learning rate was 0 at every measurement" in still["advice"][0]


@pytest.mark.usefixtures("parts")
def test_a_gate_says_what_is_wanted():
    done = run("diagnose", *OWN, *QUICK, "--lr", 0.001, "--require", "rich")
    assert done.exit_code == 3
    *_, advice, ruling = done.stdout.splitlines()
    assert ruling.startswith("The gate failed: ")
    assert advice.startswith("What now? ")
    if done.stdout.startswith(("LAZY", "INTERMEDIATE")):
        assert "For rich training call `lr.dial(" in advice


@pytest.mark.usefixtures("parts")
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("parts:net", "--data", "nowhere:f"), "cannot import 'nowhere': ModuleNotFoundError"),
        (("parts:net", "--data", "parts:none"), "the module 'parts' has no function 'none'"),
        (("parts:net", "--data", "parts:fails"), "parts:fails() failed with RuntimeError: no such"),
        (("parts:net", "--data", "parts:number"), "must return a pair (inputs, targets) of tensor"),
        (("parts:net", "--data", "parts:three"), "batches of either, got a tuple of 3"),
        (("parts:net", "--data", "parts:words"), "batches of either, got Tensor and str"),
        (("parts:net", "--data", "parts:unlabelled"), "a mapping with `labels`, or batches of eit"),
        (("parts:net", "--data", "parts:uneven"), "as many targets as inputs, got 4 inputs and 5"),
        (("parts:net", "--data", "parts:empty"), "must return at least one batch, got none"),
        (("parts:net", "--data", "parts:bad_batches"), "must return a pair (inputs, targets)"),
        (
            (*OWN[:3], "--loss", "torch.nn.functional:l1_loss"),
            "Give --lr: the first step does not d",
        ),
        ((*OWN, "--samples", 41), "--samples must lie in 1 to 40, got 41"),
        (("parts:net", "--data", "parts:loader", "--samples", 4), "--samples is for a pair"),
        (("--data", "parts:data"), "data of your own need a network of your own"),
        (("--data", "imagenet"), "--data must be one of digits, mnist, fashion-mnist, cifar10, or"),
        (("--loss", "hinge"), "--loss must be one of mse, squared_error, cross_entropy, or MODULE"),
        ((*OWN[:3], "--loss", "parts:none"), "the module 'parts' has no function 'none'"),
        ((*OWN[:3], "--loss", "parts:fails"), "parts:fails(outputs, targets) failed with Runtime"),
        ((*OWN[:3], "--loss", "parts:vector_loss"), "must return one number as a tensor, got (40,"),
        (
            (*OWN[:3], "--loss", "parts:number_loss"),
            "must return one number as a tensor, got float",
        ),
        ((*OWN, "--optimizer", "parts:number"), "must return a torch.optim.Optimizer, got int"),
        ((*OWN, "--optimizer", "parts:fails"), "parts:fails() failed with RuntimeError: no such"),
        ((*OWN, "--optimizer", "parts:stranger"), "owns none of its trainable"),
        ((*OWN, "--optimizer", "parts:adam", "--lr", 1), "--lr is for plain SGD"),
        ((*OWN, "--optimizer", "adam"), "the optimiser must be given as MODULE:FUNCTION, got 'a"),
        ((*OWN, "--precision", "bfloat16-mixed"), "--precision bfloat16-mixed is for data, loss"),
        (("parts:digits_net", "--data", "parts:data"), "could not be trained and measured: Runt"),
    ],
)
def test_bad_input_is_one_sentence(arguments, said):
    assert said in refusal("diagnose", *arguments)


@pytest.fixture(scope="module")
def trained():
    """A network before and after, and the probe that watched it, on the data of `parts`."""
    scope = {}
    exec(PARTS, scope)
    torch.manual_seed(0)
    network = scope["net"]()
    start = copy.deepcopy(network.state_dict())
    torch.manual_seed(1)
    x, y = scope["data"]()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.3)
    probe = lazyrich.Probe(network, (x, y), samples=None)
    probe.measure(0)
    for _ in range(60):
        optimizer.zero_grad()
        (network(x) - y).square().mean().backward()
        optimizer.step()
    probe.measure(1)
    return start, network.state_dict(), probe


def between(folder, initial, trained, *more):
    torch.save(initial, folder / "a.pt")
    torch.save(trained, folder / "b.pt")
    return (*OWN, "--initial", folder / "a.pt", "--trained", folder / "b.pt", *more)


def test_two_files_give_the_verdict_of_a_probe_that_watched(parts, trained):
    start, end, probe = trained
    result = found(*between(parts, start, end))
    verdict = probe.verdict()
    assert result["regime"] == verdict.regime
    assert result["ntk_change"] == pytest.approx(verdict.evidence["ntk_change"], rel=1e-6)
    assert result["loss"] == pytest.approx(probe.history.loss.values.tolist())
    assert result["predicted_regime"] is None
    assert "The files do not say how many steps" in result["notes"][-1]
    text = run("diagnose", *between(parts, start, end)).stdout
    assert "Forecast: " not in text
    assert "Outcome: the NTK changed by " in text


def test_files_of_trainers_are_read_with_their_steps(parts, trained):
    start, end, _ = trained
    wrapped = {f"model.{name}": value for name, value in end.items()}
    lightning = {"state_dict": wrapped | {"loss.weight": torch.ones(1)}, "global_step": 60}
    page = parts / "page.html"
    result = found(*between(parts, {"model_state_dict": start}, lightning, "--html", page))
    assert not any("The files do not say" in note for note in result["notes"])
    assert "steps 0 to 60" in page.read_text("utf-8")
    compiled = {f"_orig_mod.{name}": value for name, value in end.items()}
    other = found(*between(parts, start, compiled))
    assert other["ntk_change"] == result["ntk_change"]


def test_folders_of_hugging_face_are_read(parts, trained):
    save_file = pytest.importorskip("safetensors.torch").save_file
    start, end, _ = trained
    for name, weights, step in (("first", start, 0), ("last", end, 12)):
        (parts / name).mkdir()
        save_file(weights, parts / name / "model.safetensors")
        (parts / name / "trainer_state.json").write_text(json.dumps({"global_step": step}))
    result = found(*OWN, "--initial", parts / "first", "--trained", parts / "last")
    assert result["regime"] == trained[2].verdict().regime


def test_one_file_twice_is_frozen(parts, trained):
    result = found(*between(parts, trained[0], trained[0]))
    assert result["regime"] == "frozen"


def test_files_that_do_not_fit_are_refused_by_name(parts, trained):
    start, end, _ = trained
    lacking = {name: value for name, value in end.items() if name != "2.bias"}
    said = refusal("diagnose", *between(parts, start, lacking))
    assert (
        said
        == "'b.pt' must hold the weights of the network: it lacks 2.bias, and has none besides. "
        "Name the network that it was saved from"
    )
    other = {**start, "3.weight": torch.ones(1)}
    assert "it lacks none, and has 3.weight besides" in refusal(
        "diagnose", *between(parts, other, end)
    )
    shape = {**end, "0.weight": torch.ones(2, 3)}
    assert "got 0.weight (2, 3) instead of (16, 3)" in refusal(
        "diagnose", *between(parts, start, shape)
    )
    names = {f"layer{i}": torch.ones(1) for i in range(9)}
    said = refusal("diagnose", *between(parts, names, end))
    assert "it lacks 0.weight, 0.bias, 2.weight, 2.bias, and has layer0, layer1, " in said
    assert "layer4 and 4 more besides" in said


def test_files_that_are_none_are_refused(parts, trained):
    good = parts / "good.pt"
    torch.save(trained[0], good)
    words = parts / "words.pt"
    words.write_bytes(b"words")
    lists = parts / "list.pt"
    torch.save([1, 2], lists)
    plain = parts / "plain.pt"
    torch.save({"lr": 0.1}, plain)
    (parts / "folder").mkdir()
    pair = ("--initial", good, "--trained")
    missing = parts / "none.pt"
    assert f"there is no file '{missing}'. Give --trained a checkpoint." == refusal(
        "diagnose", *OWN, *pair, missing
    )
    assert "tensors and plain values, which 'words.pt' is not" in refusal(
        "diagnose", *OWN, *pair, words
    )
    assert "must hold a state dict, got a list in 'list.pt'" in refusal(
        "diagnose", *OWN, *pair, lists
    )
    assert "got 'plain.pt' with lr (float)" in refusal("diagnose", *OWN, *pair, plain)
    assert "a folder with model.safetensors or pytorch_model.bin, got" in refusal(
        "diagnose", *OWN, *pair, parts / "folder"
    )
    assert "belong together, got --initial alone" in refusal("diagnose", *OWN, "--initial", good)
    assert "belong together, got --trained alone" in refusal("diagnose", *OWN, "--trained", good)
    assert "train nothing: leave out --lr, --optimizer" in refusal(
        "diagnose", *OWN, *pair, good, "--lr", 1
    )


def test_the_answer_is_strict_json(parts, trained):
    result = answer("diagnose", *between(parts, trained[0], trained[1]))
    assert result["overhead"] is None or 0 <= result["overhead"] <= 1
