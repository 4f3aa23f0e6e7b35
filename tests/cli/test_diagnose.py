import json
import re
import subprocess
import sys

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from lazyrich.cli import app, progress
from lazyrich.cli.gate import VERDICTS
from lazyrich.study.data.downloads import DEBIAN

QUICK = ["--samples", "128", "--epochs", "3"]
KEYS = {"regime", "richness", "ntk_change", "kernel_distance", "layers", "overhead"}
KEYS |= {"centred_kernel_distance", "linearisation_error", "predicted_regime", "agreement"}
LAYER_KEYS = {"name", "regime", "layer_log_alignment", "layer_log_rescaling", "nfa", "cnfa"}


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


def call(*arguments):
    return CliRunner().invoke(app, ["diagnose", *map(str, arguments)])


def found(*arguments):
    done = call(*arguments, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def factories(tmp_path_factory):
    folder = tmp_path_factory.mktemp("factories")
    (folder / "my_networks.py").write_text(
        """
import torch
from torch import nn

def vectors():
    return nn.Sequential(nn.Linear(64, 12), nn.ReLU(), nn.Linear(12, 10))

def images():
    return nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(108, 10))

def five():
    return nn.Linear(64, 5)

def broken():
    raise RuntimeError("no weights")

def number():
    return 3

def leaves():
    raise SystemExit(7)

class Own(nn.Linear):
    def forward(self, x):
        if self.training:
            raise RuntimeError("no training\\nhere")
        return super().forward(x)

def untrainable():
    return Own(64, 10)

class Two(nn.Linear):
    def forward(self, x):
        return super().forward(x), 3

def two():
    return Two(64, 10)

def unfinished():
    return nn.LazyLinear(10)

value = 3
"""
    )
    return folder


def test_output_scale_decides_between_lazy_and_rich():
    lazy, rich = (
        found("--width", 32, "--output-scale", scale, "--samples", 192, "--epochs", 4)
        for scale in (1000, 0.1)
    )
    assert (lazy["regime"], rich["regime"]) == ("lazy", "rich")
    assert lazy["richness"] < 0.1 < 1 < rich["richness"]
    assert lazy["ntk_change"] < 0.1 < rich["ntk_change"]
    assert lazy["kernel_distance"] < rich["kernel_distance"]


@pytest.mark.parametrize("model", ["fcn", "cnn", "transformer"])
def test_every_built_in_network(model):
    result = found("--model", model, "--width", 16, "--samples", 128, "--epochs", 1)
    assert set(result) >= KEYS
    assert len(result["layers"]) >= 3
    for layer in result["layers"]:
        assert set(layer) >= LAYER_KEYS
        assert layer["regime"] in VERDICTS
    assert 0 < result["overhead"] < 1
    assert result["loss"][1] < result["loss"][0]


def test_the_seed_decides_the_numbers():
    same = [found("--width", 8, *QUICK, "--seed", seed) for seed in (0, 0, 1)]
    for result in same:
        result.pop("overhead")
    assert same[0] == same[1] != same[2]


def test_init_scale_and_mse_reach_the_network(monkeypatch):
    monkeypatch.setattr("lazyrich.cli.training.REHEARSAL", 5)
    one, three = (found("--width", 8, "--init-scale", s, "--loss", "mse", *QUICK) for s in (1, 3))
    # α = 1 and three layers: the tangent features of larger weights have less far to go
    assert three["richness"] < one["richness"]


def test_a_table_in_words():
    done = call("--width", 8, *QUICK)
    assert done.exit_code == 0
    assert done.stdout.startswith("INTERMEDIATE. After the loss fell to ")
    assert "Forecast: " in done.stdout
    assert "The forecast is for a loss of " in done.stdout
    assert " between samples; " in done.stdout
    assert "richness ρ = " in done.stdout
    assert "network.layer1" in done.stdout
    assert "training" in done.stderr


def test_of_parts_without_a_weight_to_study_no_mechanism_is_denied():
    done = call("--model", "transformer", "--width", 8, *QUICK)
    rows = {line.split()[0]: line for line in done.stdout.splitlines() if "network." in line}
    assert rows["network.norm"].endswith("–")
    assert not rows["network.readout"].endswith("–")


@pytest.mark.parametrize(("regime", "code"), [("lazy", 3), ("rich", 0)])
def test_a_gate_for_automatic_checks(regime, code):
    done = call("--width", 32, "--output-scale", 1000, *QUICK, "--json", "--fail-if", regime)
    assert done.exit_code == code
    assert json.loads(done.stdout)["regime"] == "lazy"


def test_training_that_diverges_is_a_verdict():
    result = found("--width", 8, "--lr", 1e4, "--loss", "mse", *QUICK)
    assert result["regime"] == "unstable"
    said = call("--width", 8, "--lr", 1e30, "--loss", "mse", *QUICK).stdout
    assert said.startswith("UNSTABLE. From step 1 on the loss or a gradient is no longer")
    assert "Outcome, as long as it was finite: the NTK changed by" in said
    assert "→ not finite; watching" in said
    said = call("--width", 8, *QUICK).stdout
    assert "Outcome: the NTK changed by" in said
    assert not re.search(r"\d\.?\d*e[+-]\d", said.splitlines()[1])


def test_progress_where_there_is_no_terminal(monkeypatch):
    monkeypatch.setattr(progress, "LINE_EVERY", 0.0)
    lines = call("--width", 8, *QUICK).stderr.splitlines()
    assert lines[0] == "lazyrich: training, 6 steps"
    assert lines[1:] == [f"lazyrich: training, {step} of 6 steps" for step in range(1, 7)]


def test_the_report_is_written(tmp_path):
    target = tmp_path / "report.html"
    assert call("--width", 8, *QUICK, "--html", target).exit_code == 0
    assert target.read_text("utf-8").startswith("<!doctype html>")


@pytest.mark.parametrize("factory", ["vectors", "images"])
def test_your_own_network(factory, factories, monkeypatch):
    monkeypatch.chdir(factories)
    result = found(f"my_networks:{factory}", *QUICK)
    assert [layer["name"] for layer in result["layers"]] == [
        "0",
        {"vectors": "2", "images": "3"}[factory],
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["my_networks"], "MODULE:FUNCTION, got 'my_networks'"),
        (["no_such_module:f"], "cannot import 'no_such_module': ModuleNotFoundError"),
        (["my_networks:nothing"], "the module 'my_networks' has no function 'nothing'"),
        (["my_networks:value"], "has no function 'value'"),
        (["my_networks:broken"], "my_networks:broken() failed with RuntimeError: no weights"),
        (["my_networks:number"], "must return a torch.nn.Module, got int"),
        (["my_networks:five"], "to outputs (2, 10)"),
        (["my_networks:leaves"], "my_networks:leaves() failed with SystemExit: 7"),
        (["my_networks:untrainable"], "could not be trained and measured: RuntimeError: no train"),
        (["my_networks:two"], "the network of my_networks:two() could not be trained and measured"),
        (["my_networks:unfinished"], "must map two samples"),
        (["my_networks:vectors", "--width", "8"], "--width is for the built-in networks"),
        (["--width", "0"], "--width must be at least 1, got 0"),
        (["--output-scale", "0"], "`output_scale` must be a positive number"),
        (["--init-scale", "-1"], "`init_scale` must be a positive number"),
        (["--model", "transformer", "--width", "6"], "multiple of 8"),
        (["--samples", "0"], "--samples must lie in 1 to 1442 for digits, got 0"),
        (["--samples", "2000"], "--samples must lie in 1 to 1442 for digits, got 2000"),
        (["--lr", "-1"], "--lr must be a positive number, got -1.0"),
        (["--lr", "1e300"], "--lr must be at most 1e+30, got 1e+300"),
        (["--fail-if", "lazzy"], "--fail-if must be one of frozen, lazy, intermediate, rich"),
        (["--require", "unstable"], "--require must be one of frozen, lazy, intermediate, rich, "),
        (["--require", "lazy", "--fail-if", "lazy"], "must name different regimes"),
        (
            ["--data", "mnist", "--data-dir", "nowhere"],
            "must be a folder that exists, got 'nowhere'",
        ),
        (["--data", "cifar10", "--data-dir", "."], "cifar10 needs the file cifar-10-binary.tar.gz"),
        (["--html", "nowhere/report.html"], "the folder 'nowhere' does not exist"),
        (["--html", "report.png"], "`path` must end in .html, .htm, got 'report.png'"),
        (["--data", "cifar"], "cifar"),
        (["--model", "mlp"], "mlp"),
    ],
)
def test_bad_input_is_one_sentence_and_code_two(arguments, message, factories, monkeypatch):
    monkeypatch.chdir(factories)
    done = call(*arguments)
    assert done.exit_code == 2
    (said,) = [line for line in done.stderr.splitlines() if ": training, " not in line]
    assert message in said
    assert said.startswith("lazyrich: ")
    assert not done.stdout


@pytest.mark.skipif(
    not (DEBIAN / "fashion-mnist").is_dir(), reason="Fashion-MNIST is not installed"
)
def test_fashion_mnist():
    result = found("--data", "fashion-mnist", "--width", 16, "--samples", 256, "--epochs", 2)
    assert result["loss"][1] < result["loss"][0]


def test_images_in_colour_from_files(tmp_path, monkeypatch):
    monkeypatch.setattr("lazyrich.cli.training.REHEARSAL", 5)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (100, 3072), dtype=np.uint8)  # noise: nothing to learn
    labels = np.arange(100, dtype=np.uint8)[:, None] % 10
    for name in ("data_batch_1.bin", "test_batch.bin"):
        (tmp_path / name).write_bytes(np.hstack([labels, images]).tobytes())
    result = found(
        *("--data", "cifar10", "--data-dir", tmp_path, "--model", "cnn", "--width", 2),
        *("--batch-size", 100, "--epochs", 1),
    )
    assert result["loss"][0] == pytest.approx(np.log(10))
    assert result["layers"][0]["name"] == "network.layer1"


def test_help_loads_neither_torch_nor_matplotlib():
    code = (
        "import sys, lazyrich.cli\n"
        "try: lazyrich.cli.app(['diagnose', '--help'])\n"
        "except SystemExit: pass\n"
        "print(sorted({'torch', 'matplotlib', 'numpy'} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"
    assert "--fail-if" in done.stdout
