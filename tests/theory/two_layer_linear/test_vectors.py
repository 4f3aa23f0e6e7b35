"""The closed form against high-precision numbers, to 1e-12 relative."""

import json
from pathlib import Path

import numpy as np
import pytest

from tests.reference import line, relative_error
from tests.theory.two_layer_linear.problems import (
    EDGES,
    VARIABLES,
    problem,
    random_problem,
    solved,
    times,
)

VECTORS = Path(__file__).parents[4] / "shared" / "vectors" / "two_layer_linear_1d.json"
TOLERANCE = 1e-12
RANGE = 1e-290  # smaller numbers have fewer digits in float64
MULTIPLES = (1e-9, 0.01, 1.0, 10.0, 100.0, 1e6, np.inf)


def check(case, at):
    """Every variable at every time; numbers beyond the range of float64 must say so."""
    found = solved(case, at)
    for row, t in enumerate(at):
        expected = line(case, t)
        if max(expected["uu"], expected["ww"]) < np.finfo(float).tiny:  # no direction is left
            del expected["zeta"]
        for name, exact in expected.items():
            value = float(found[VARIABLES[name]].values[row])
            if abs(exact) < RANGE:
                assert abs(value) <= 1.01 * RANGE, (name, t, value)
            elif abs(exact) > np.finfo(float).max:
                assert abs(value) == np.inf, (name, t, value)
            else:
                error = relative_error(value, exact)
                assert error < TOLERANCE, (name, t, value, exact, error)


@pytest.mark.skipif(not VECTORS.exists(), reason=f"{VECTORS.name} is not beside the repository")
def test_given_vectors():
    for case in json.loads(VECTORS.read_text()):
        found = solved(case, case["ts"])
        for row, expected in enumerate(case["expect"]):
            for name in expected.keys() & VARIABLES.keys():
                value = found[VARIABLES[name]].values[row]
                assert value == pytest.approx(float(expected[name]), rel=TOLERANCE, abs=0), (
                    case["name"],
                    expected["t"],
                    name,
                )


@pytest.mark.parametrize("name", EDGES)
def test_edges(name):
    check(EDGES[name], times(EDGES[name], MULTIPLES))


@pytest.mark.parametrize(
    "kind", ["generic", "small", "kernel", "wide", "orthogonal", "near", "exact"]
)
def test_random_problems(kind):
    rng = np.random.default_rng(hash_of(kind))
    for _ in range(12):
        case = random_problem(kind, rng)
        check(case, times(case, MULTIPLES))


def hash_of(kind):
    """A seed from a word, the same in every run."""
    return int.from_bytes(kind.encode(), "little") % 2**32


@pytest.mark.parametrize("name", ["g", "eu", "ew", "weights", "data"])
@pytest.mark.parametrize("size", [1e-300, 1e-160, 1e160, 1e297])
def test_one_extreme_parameter(name, size):
    case = problem(1.1, -0.3, 0.8)
    group = {"weights": ("uu", "uw", "ww"), "data": ("Eaa", "Eay", "Eyy")}.get(name, (name,))
    case |= {each: case[each] * size for each in group}
    check(case, times(case, (1e-3, 1.0, 30.0, 1e4, np.inf)))


@pytest.mark.parametrize("ratio", [1e-100, 1e-200, 1e-300])
def test_plateau_of_a_vanishing_start(ratio):
    """The start is `ratio` of the optimum: it takes D t = ln(1/ratio) to leave the saddle."""
    case = problem(1.3 * ratio, 0.2 * ratio, 0.9 * ratio)
    rate = 4 * 0.7 * np.sqrt(0.15) * 0.9
    escape = -np.log(ratio) / rate
    check(case, [0.0, 0.1 * escape, 0.5 * escape, escape, escape + 5 / rate, escape + 20 / rate])


def test_time_zero_returns_the_start_bit_by_bit():
    for case in EDGES.values():
        found = solved(case, [0.0])
        assert [found[name].item() for name in ("uu", "uw", "ww")] == [
            case["uu"],
            case["uw"],
            case["ww"],
        ]


def test_many_time_constants_stay_finite():
    case = random_problem("generic", np.random.default_rng(1))
    found = solved(case, np.geomspace(1e-300, 1e300, 601))
    for name in VARIABLES.values():
        assert np.isfinite(found[name].values).all(), name
    assert (np.diff(found.loss.values) <= 1e-15 * found.loss.values[:-1]).all()
