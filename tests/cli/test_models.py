"""Models by their names in `solve`, `phase` and `cite`: the numbers of Python, and refusals."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from lazyrich.cli.models import entry_of, value_of
from lazyrich.theory.abc import abc_phases
from lazyrich.theory.aligned_modes import mode_flow
from lazyrich.theory.balanced_linear import balanced_flow, balanced_regime, balanced_state
from lazyrich.theory.barlow_twins import barlow_flow, barlow_times
from lazyrich.theory.catalogue import models
from lazyrich.theory.catapult import catapult_descent, catapult_phases
from lazyrich.theory.contrastive_energy import contrastive_flow, contrastive_maxima
from lazyrich.theory.diagonal_linear import diagonal_limit
from lazyrich.theory.power_neurons import power_flow
from lazyrich.theory.quadratic_start import quadratic_network_prediction
from lazyrich.theory.single_neuron import neuron_flow
from lazyrich.theory.two_layer_linear import GramState, LinearNetwork, LineData, MomentData
from lazyrich.theory.two_layer_relu import relu_phases
from lazyrich.theory.weight_decay_chain import chain_minima
from tests.cli.run import answer, refusal, run

TARGET = np.array([[1.0, 0.5], [-0.25, 0.75]])
DATA = MomentData(sigma_xx=np.eye(2), sigma_yx=TARGET, mean_yy=float(np.sum(TARGET**2)))
NEURON = MomentData(sigma_xx=np.eye(2), sigma_yx=[[1.0, 0.5]], mean_yy=1.25)
NETWORK = LinearNetwork(output_scale=0.5, lr_u=0.2, lr_w=0.2)
LINE = LineData(mean_aa=1.0, mean_ay=1.0, mean_yy=1.0)
ON_PAGES = [
    shlex.split(line)
    for page in sorted((Path(__file__).parents[2] / "docs").rglob("*.md"))
    for line in re.findall(
        r"(?:^|^\$ |`)(lazyrich (?:solve|phase) [a-z]\w+ [^`\n]+)", page.read_text("utf-8"), re.M
    )
]
RATES = ("output_scale=0.5", "lr_u=0.2", "lr_w=0.2")
SOLVE = ("solve", "balanced_linear", "target=1,0.5;-0.25,0.75", "times=0,3", *RATES)


def assert_is(found, expected, model="balanced_linear"):
    assert found.pop("model") == model
    dims = found.pop("dims")
    every = {**expected.coords, **expected.data_vars}
    assert set(found) == set(dims) == set(every)
    for name, values in every.items():
        assert dims[name] == list(values.dims)
        finite = values.where(np.isfinite(values)) if values.dtype == float else values
        np.testing.assert_array_equal(np.array(found[name], dtype=values.dtype), finite)


def test_solve_from_a_draw_along_an_axis():
    found = answer(*SOLVE, "width=2", "init_relative_scale=-1:1:3", "init_std=0.3", "seed=4")
    state = balanced_state(
        outputs=2, inputs=2, width=2, init_relative_scale=[-1, 0, 1], init_std=0.3, seed=4
    )
    assert_is(found, balanced_flow(state, NETWORK, DATA, [0.0, 3.0]))


def test_the_table_has_what_is_no_matrix():
    done = run(*SOLVE, "init_relative_scale=0,1")
    header, *rows = done.stdout.splitlines()
    assert header.split()[:4] == ["init_relative_scale", "time", "status", "regime"]
    assert len(rows) == 4
    assert "end_to_end_map, uw, nfm, agop, readout_gram are matrices: --json" in done.stderr
    assert len(run(*SOLVE[:3], "times=1").stdout.splitlines()) == 2


def test_phase():
    chosen = ("width=1,2", "outputs=2", "inputs=4")
    found = answer(
        "phase", "Balanced-Linear", "init_relative_scale=-9,0,9", "target_scale=1:3:2", *chosen
    )
    # a scale is spaced geometrically, which is no matter for two
    expected = balanced_regime([-9, 0, 9], [1.0, 3.0], width=[1, 2], outputs=2, inputs=4)
    assert_is(found, expected)


@pytest.mark.parametrize("name", ["two_layer_linear", "Two-Layer-Linear"])
def test_the_first_model_has_its_options(name):
    options = ("--gram", 1, 0, 1, "--moments", 1, 1, 1, "--times", 0)
    assert answer("solve", name, *options) == answer("solve", *options)
    assert answer("phase", name, "--preset", "mup") == answer("phase", "--preset", "mup")


LINES = {  # what follows the model, and what Python says
    ("solve", "balanced_linear"): (
        "target=1,0.5;-0.25,0.75 times=0,3 output_scale=0.5 lr_u=0.2 lr_w=0.2 u=2,0;0,2 w=1,0;0,1",
        lambda: balanced_flow(
            GramState.from_weights(2 * np.eye(2), np.eye(2)), NETWORK, DATA, [0.0, 3.0]
        ),
    ),
    ("phase", "balanced_linear"): (
        "init_relative_scale=-9,0,9 target_scale=1 width=2 outputs=2 inputs=4",
        lambda: balanced_regime([-9, 0, 9], 1.0, width=2, outputs=2, inputs=4),
    ),
    ("solve", "diagonal_linear"): (
        "x=1,2 y=1 factors=2,4 init_scale=1e-6:1:4",
        lambda: diagonal_limit([[1, 2]], [1], factors=[2, 4], init_scale=np.geomspace(1e-6, 1, 4)),
    ),
    ("solve", "single_neuron"): (
        "u=0.1 w=-2,1.5 target=1,0.5 times=0,3 output_scale=0.5 lr_u=0.2 lr_w=0.2",
        lambda: neuron_flow(0.1, [-2.0, 1.5], NETWORK, NEURON, [0.0, 3.0]),
    ),
    ("phase", "single_neuron"): (
        "u=0.1 w=-2,1.5 target=1,0.5 output_scale=0.5 lr_u=0.2 lr_w=0.2",
        lambda: neuron_flow(0.1, [-2.0, 1.5], NETWORK, NEURON, 0)[["neuron_imbalance"]].drop_vars(
            "t"
        ),
    ),
    ("solve", "aligned_modes"): (
        "target=3,1 start=0.001 times=0,1.5 depth=1,2,inf",
        lambda: mode_flow([3.0, 1.0], 1e-3, [0.0, 1.5], depth=[1, 2, np.inf]),
    ),
    ("solve", "catapult"): (
        "init_sharpness=1.5,3 init_output=0.03 steps=6",
        lambda: catapult_descent([1.5, 3], 0.03, steps=6),
    ),
    ("phase", "catapult"): (
        "init_sharpness=1.5,3,4.5 init_output=0.03 target_output=0.1",
        lambda: catapult_phases([1.5, 3, 4.5], 0.03, target_output=0.1),
    ),
    ("solve", "barlow_twins"): (
        "view_eigenvalue=2,1 start=0.001 times=0,1 outputs=3",
        lambda: barlow_flow([2, 1], 0.001, [0, 1], outputs=3).assign(
            embedding_step_time=barlow_times([2, 1], 0.001)
        ),
    ),
    ("solve", "weight_decay_chain"): (
        "factors=1,2,3 weight_decay=0.5 mean_ay=-1",
        lambda: chain_minima(1, -1, factors=[1, 2, 3], weight_decay=0.5),
    ),
    ("phase", "weight_decay_chain"): (
        "factors=3 weight_decay=0.5,0.9",
        lambda: chain_minima(1, 1, factors=3, weight_decay=[0.5, 0.9])[
            ["learned_gain", "critical_decay", "spinodal_decay"]
        ],
    ),
    ("solve", "contrastive_energy"): (
        "x=2,0;0,1;-2,-1 start=0.1,1 times=0,3",
        lambda: contrastive_flow([[2, 0], [0, 1], [-2, -1]], [0.1, 1], [0, 3]),
    ),
    ("phase", "contrastive_energy"): (
        "x=3,0,0;0,2,0;0,0,1 starts=30 seed=2",
        lambda: contrastive_maxima(np.diag([3, 2, 1]), starts=30, seed=2),
    ),
    ("solve", "power_neurons"): (
        "u=0.5,-0.3 w=0.7,0.4 power=1,1.7 times=0,1,inf output_scale=0.5 lr_u=0.2 lr_w=0.2",
        lambda: power_flow([0.5, -0.3], [0.7, 0.4], NETWORK, LINE, [0, 1, np.inf], power=[1, 1.7]),
    ),
    ("phase", "power_neurons"): (
        "u=0.5,-0.3 w=0.7,0.4 power=1,1.7 output_scale=0.5 lr_u=0.2 lr_w=0.2",
        lambda: power_flow([0.5, -0.3], [0.7, 0.4], NETWORK, LINE, np.inf, power=[1, 1.7])[
            ["ntk_change"]
        ].drop_vars("t"),
    ),
    ("phase", "abc"): (
        "a=-1/2,0,1/2 b=1/2,1/2,1/2 c=0,1/2",
        lambda: abc_phases(["-1/2", 0, "1/2"], ["1/2"] * 3, [0, "1/2"]),
    ),
    ("phase", "two_layer_relu"): (
        "gamma=1/2,1,3/2 gamma_prime=0",
        lambda: relu_phases(["1/2", 1, "3/2"], 0),
    ),
    ("solve", "quadratic_start"): (
        "input_covariance=1,0.5 label_covariance=1,2 width=4,64",
        lambda: quadratic_network_prediction([1, 0.5], [1, 2], width=[4, 64]).to_dataset(),
    ),
}
LINES["phase", "diagonal_linear"] = LINES["solve", "diagonal_linear"]


@pytest.mark.parametrize("called", LINES, ids=" ".join)
def test_every_command_of_every_model_is_python_s(called):
    words, python = LINES[called]
    assert_is(answer(*called, *words.split()), python(), called[1])
    done = run(*called, *words.split())
    assert done.exit_code == 0
    assert len(done.stdout.splitlines()) >= 2


def test_no_command_of_a_model_is_forgotten():
    every = {(command, name) for name, one in models().items() for command in one.commands}
    assert set(LINES) == every
    shown = {tuple(line[1:3]) for line in ON_PAGES}
    assert shown >= every


@pytest.mark.parametrize("line", ON_PAGES, ids=" ".join)
def test_a_line_of_the_pages_runs(line):
    assert run(*line[1:]).exit_code == 0


def test_one_input_is_a_number():
    found = answer(
        "solve", "quadratic_start", "input_covariance=1", "label_covariance=2", "width=1"
    )
    assert found["cnfa"] == quadratic_network_prediction([1], [2], width=1).item()


@pytest.mark.parametrize("name", models())
def test_every_model_is_cited(name):
    model = models()[name]
    found = answer("cite", name)
    assert found["references"] == list(model.references)
    assert found["equation"] == model.equation
    numbered = [one for one in model.references if "arXiv:" in one]
    assert len(found["bibtex"]) == len(numbered)
    assert run("cite", name).stdout.splitlines() == [f"{name}: {model.equation}", *model.references]
    assert run("cite", name, "--bibtex").stdout.count("@misc") == len(numbered)


def test_an_entry_has_its_authors():
    entry = entry_of("Yang et al., Tensor Programs V: Tuning Large, arXiv:2203.03466")
    assert "author = {Yang and others}" in entry
    assert "title = {{Tensor Programs V: Tuning Large}}" in entry
    assert "year = {2022}" in entry
    alone = entry_of("Tian, Understanding, Twice, arXiv:2206.01342")
    assert "author = {Tian},\n  title = {{Understanding, Twice}}" in alone
    assert entry_of("derived in the lazyrich documentation") is None


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 1e-3),
        ("1,2", [1.0, 2.0]),
        ("1,2;3,4", [[1.0, 2.0], [3.0, 4.0]]),
        ("0.1:10:3", [0.1, 1.0, 10.0]),
        ("-1:1:3", [-1.0, 0.0, 1.0]),
        ("1/2", "1/2"),
        ("rich", "rich"),
    ],
)
def test_values(text, value):
    found = value_of("x", text)
    assert found == (value if isinstance(value, str) else pytest.approx(np.array(value)))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ("solve", "nix"),
            "there is no model 'nix'; choose from abc, aligned_modes, balanced_linear, ",
        ),
        (("cite", "nix"), "there is no model 'nix'"),
        (
            ("solve", "abc"),
            "abc has no solve; the models that have are aligned_modes, balanced_lin",
        ),
        (("phase", "aligned_modes"), "aligned_modes has no phase; the models that have are abc"),
        (("solve", "two_layer_linear", "u=1"), "the numbers of two_layer_linear are options, see"),
        (("phase", "two_layer_linear", "c=0"), "the numbers of two_layer_linear are options, see"),
        (("solve", "balanced_linear", "target=1"), "times must be given: it takes target, times, "),
        ((*SOLVE, "sigma=1"), "there is no sigma: it takes target, times, and may have u, w, "),
        ((*SOLVE, "--times", 1), "the numbers of a model are NAME=VALUE, such as times=1, not --"),
        ((*SOLVE, "u=1,0;0,1"), "give both layers, u and w, or none to draw them"),
        ((*SOLVE, "u"), "what follows a model must be NAME=VALUE, each name once, got 'u'"),
        (
            (*SOLVE, "init_std=fast"),
            "`init_std` must be a number or an array of numbers, got 'fast'",
        ),
        ((*SOLVE, "width=2.5"), "`width` must be a whole number ≥ 1, got 2.5"),
        ((*SOLVE, "seed=a"), "`seed` must be a whole number ≥ 0, got 'a'"),
        (("phase", "balanced_linear", "width=1"), "init_relative_scale, target_scale, outputs, "),
    ],
)
def test_refusals(arguments, said):
    assert said in refusal(*arguments)
