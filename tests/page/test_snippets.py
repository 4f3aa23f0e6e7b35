"""\"Copy as Python\" runs as it is and gives what the page shows."""

import json

import numpy as np
import pytest

pytest.importorskip("torch")

from lazyrich._files import write_arrays
from tests.page.fixtures import history_of
from tests.page.node import needs_node, node

pytestmark = needs_node

SETTING = {
    "width": 1000, "output_scale": 0.01, "lr_u": 0.3, "lr_w": 0.1, "init_std_u": 0.2,
    "init_std_w": 0.5, "mean_aa": 1.2, "mean_ay": -0.7, "mean_yy": 1.0,
}  # fmt: skip
STARTS = (
    {"kind": "random", "seed": 3},
    {"kind": "typical", "init_alignment": 0.25},
    {"kind": "aligned"},
    {"kind": "anti_aligned"},
    {"kind": "given", "uu": 1.5, "uw": -0.5, "ww": 2},
)
FLOWS = [
    {"kind": "flow", "setting": SETTING | {"width": width}, "start": start, "log_times": 40}
    for width in (1000, 10**12)
    for start in STARTS
]
FLOWS += [
    {"kind": "flow", "setting": SETTING, "start": STARTS[0], "times": times}
    for times in ([0, 1, 2, 3, 4], [0.5], [0, 1e-3, 2.5])
]
DESCENTS = [
    {"kind": "descent", "setting": SETTING | {"lr_u": lr, "lr_w": lr}, "start": STARTS[1],
     "descent": {"steps": 30, "every": 4}}
    for lr in (0.3, 30, 3e5)
]  # fmt: skip
AXES = (
    ({"name": "output_scale", "low": 1e-3, "high": 10, "count": 7},
     {"name": "init_std", "low": 1e-3, "high": 10, "count": 6}),
    ({"name": "width", "low": 1, "high": 1e12, "count": 5},
     {"name": "init_alignment", "low": -1, "high": 1, "count": 5}),
    ({"name": "lr", "low": 0.1, "high": 2, "count": 4},
     {"name": "mean_ay", "low": -1, "high": 1, "count": 4}),
)  # fmt: skip
DIAGRAMS = [
    {"kind": "parameter_diagram", "setting": SETTING, "init_alignment": 0.1, "x": x, "y": y}
    for x, y in AXES
]
POWERS = {
    "output_scale": {"exponent": "-1/3", "constant": -2.5},
    "lr_u": {"exponent": 0.5, "constant": 1},
    "lr_w": {"exponent": 0, "constant": 1},
    "init_var_u": {"exponent": "-1", "constant": 0.1},
    "init_var_w": {"exponent": -1, "constant": 1},
}
MUP = {
    "output_scale": {"exponent": "0", "constant": 1},
    "lr_u": {"exponent": -1, "constant": 5},
    "lr_w": {"exponent": 1, "constant": 0.0005},
    "init_var_u": {"exponent": -2, "constant": 100},
    "init_var_w": {"exponent": 0, "constant": 1},
}
LAWS = [{"kind": "law", "law": law} for law in (POWERS, MUP)]
EXPONENTS = [
    {"kind": "exponent_diagram", "fixed": {"init_var_w_exponent": "-1/2"}, "tune_rates": tuned,
     "x": {"name": "output_scale_exponent", "low": -2, "high": 1, "count": 7},
     "y": {"name": "lr_exponent", "low": 0.5, "high": 2, "count": 4}}
    for tuned in (True, False)
]  # fmt: skip
BALANCED = [
    {"kind": "balanced", "times": [0, 0.5, 1, 5],
     "problem": {"output_scale": 1, "lr_u": 0.5, "lr_w": 0.5,
                 "target": [[1, 0.2, 0], [0, 0.5, 0.1]]},
     "draw": {"outputs": 2, "inputs": 3, "width": 2, "init_relative_scale": scale,
              "init_std": 0.1, "seed": 1}}
    for scale in (-2, 0, 1.5)
]  # fmt: skip
RELU = [
    {"kind": "relu", "gamma": gamma, "gamma_prime": prime, "zero_output": zero}
    for gamma, prime, zero in (
        ("1/2", 0, False),
        (0.25, 0, True),
        (0.25, 0, False),
        (2, "1/3", False),
    )
]


def asked(views):
    """The snippets that the page gives, and the numbers that it shows."""
    return json.loads(node("run.mjs", "test/numerics/snippets.ts", given=json.dumps(views)))


def run(snippet, capsys):
    """The names that a snippet leaves."""
    names = {}
    exec(compile(snippet, "<snippet>", "exec"), names)
    assert capsys.readouterr().out.strip()
    return names


def near(found, shown, rtol=1e-12, atol=0.0):
    """Whether arrays agree; texts stand for what JSON has no number for."""
    given = np.array(json.loads(json.dumps(shown)), dtype=object)
    np.testing.assert_allclose(np.ravel(found), given.astype(float).ravel(), rtol=rtol, atol=atol)


def pairs(views, capsys):
    """Each view with what its snippet left and what the page shows."""
    for view, answer in zip(views, asked(views), strict=True):
        yield view, run(answer["python"], capsys), answer["shown"]


def test_flow_and_descent(capsys):
    for view, names, shown in pairs(FLOWS + DESCENTS, capsys):
        result = names["result"]
        dim = "time" if view["kind"] == "flow" else "step"
        near(result[dim], shown["at"])
        assert result.status.item() == shown["status"]
        for name in ("end_to_end_map", "loss", "excess_loss", "alignment", "uu", "ww", "ntk_trace"):
            near(result[name], shown[name], rtol=1e-11 if name == "excess_loss" else 1e-12)


def test_diagrams_of_parameters(capsys):
    for _, names, shown in pairs(DIAGRAMS, capsys):
        near(names["result"].region, list(shown["region"]))
        curves = names["diagram"].boundaries
        assert {curve.name for curve in curves} == {one["name"] for one in shown["boundaries"]}


def test_exponents(capsys):
    for _, names, shown in pairs(EXPONENTS, capsys):
        near(names["result"].region, shown["region"])
        near(names["result"].rate_exponent, shown["rate_exponent"], atol=1e-14)
    for _, names, shown in pairs(LAWS, capsys):
        assert names["result"] == shown["phase"]
        assert {n: str(v) for n, v in names["law"].exponents._asdict().items()} == shown["texts"]


def test_balanced(capsys):
    for _, names, shown in pairs(BALANCED, capsys):
        result = names["result"]
        for name in ("loss", "kernel_distance", "ntk_change"):
            near(result[name], shown[name], atol=1e-13)
        assert result.regime.item() == shown["regime"]


def test_relu(capsys):
    for _, names, shown in pairs(RELU, capsys):
        result = names["result"]
        assert result.condensation.item() == shown["condensation"]
        near(result.weight_movement_exponent, shown["weight_movement_exponent"])


@pytest.mark.parametrize("saved", ["run.json", "spaces and 'quotes'.json"])
def test_history(capsys, tmp_path, saved):
    file = tmp_path / saved
    write_arrays(history_of(ntk_change=[0.0, 0.9, 3.0], spread=0.3), file)
    [(_, names, shown)] = pairs([{"kind": "history", "file": str(file)}], capsys)
    assert names["result"].regime == shown["regime"] == "rich"
    assert shown["ntk_change"] == names["result"].evidence["ntk_change"]
