"""Models by their names in `solve`, `phase` and `cite`: the numbers of Python, and refusals."""

import numpy as np
import pytest

from lazyrich.cli.models import entry_of, value_of
from lazyrich.theory.balanced_linear import balanced_flow, balanced_regime, balanced_state
from lazyrich.theory.catalogue import models
from lazyrich.theory.two_layer_linear import GramState, LinearNetwork, MomentData
from tests.cli.run import answer, refusal, run

TARGET = np.array([[1.0, 0.5], [-0.25, 0.75]])
DATA = MomentData(sigma_xx=np.eye(2), sigma_yx=TARGET, mean_yy=float(np.sum(TARGET**2)))
NETWORK = LinearNetwork(output_scale=0.5, lr_u=0.2, lr_w=0.2)
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


def test_solve_from_weights():
    found = answer(*SOLVE, "u=2,0;0,2", "w=1,0;0,1")
    state = GramState.from_weights(2 * np.eye(2), np.eye(2))
    assert_is(found, balanced_flow(state, NETWORK, DATA, [0.0, 3.0]))


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


def test_the_first_model_has_its_options():
    options = ("--gram", 1, 0, 1, "--moments", 1, 1, 1, "--times", 0)
    assert answer("solve", "two_layer_linear", *options) == answer("solve", *options)


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
        (("solve", "nix"), "there is no model 'nix'; choose from balanced_linear, "),
        (("cite", "nix"), "there is no model 'nix'"),
        (("solve", "quadratic_start"), "quadratic_start has no solve; the models that have are "),
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
