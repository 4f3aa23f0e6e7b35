"""The proof of the transfer, at toy sizes: its search and fit, its tables, and a whole run."""

import importlib
import json
import math
from pathlib import Path

import pytest
import torch

from lazyrich.probe.transfer.layout import MUP_READOUT_INIT
from lazyrich.vocabulary.regimes import Regime

BENCH = Path(__file__).parents[2] / "bench"


@pytest.fixture
def bench(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCH))
    return importlib.import_module


def parabola(place, seeds):
    """Of half octaves: lowest at −6.3 octaves, a little off for each seed; then it diverges."""
    if place / 2 > -5.2:
        return [math.inf for _ in seeds]
    return [math.exp(0.3 * (place / 2 + 6.3 + 0.1 * (seed - 1)) ** 2) for seed in seeds]


@pytest.mark.parametrize("start", [-24, -13, -2])
def test_the_search_finds_a_minimum_and_the_fit_of_a_parabola_is_exact(bench, start):
    curves = bench("transfer_curves")
    losses = curves.search(parabola, start, (0, 1, 2), 2)
    found = curves.minimum(losses)
    assert found.rate == pytest.approx(-6.3)
    assert found.stderr == pytest.approx(0.1 / math.sqrt(3))  # that of a mean of −6.2, −6.3, −6.4
    assert all(len(losses[place]) == 3 for place in (-14, -13, -12, -11))


def test_where_no_parabola_fits_the_lowest_point_stands(bench):
    minimum = bench("transfer_curves").minimum
    found = minimum({-4: [3.0], -2: [1.0], 0: [math.inf]})
    assert (found.rate, found.loss) == (-1, 1)
    cliff = minimum({-4: [2.74], -3: [2.72], -2: [2.7], -1: [60.0]})
    assert (cliff.rate, cliff.loss) == (-1, 2.7)
    leaning = minimum({-5: [2.92], -4: [2.9], -3: [2.87], -2: [2.85], -1: [4.1]})
    assert (leaning.rate, leaning.loss) == (-1, 2.85)  # and not −1.8, with a loss of 2.7


def test_what_is_in_the_notebook_is_not_trained_again(bench, tmp_path):
    notebook = bench("transfer_curves").Notebook(path=tmp_path / "cells.jsonl")
    assert notebook.get("a", lambda: {"train": 1.0})["train"] == 1
    again = bench("transfer_curves").Notebook(path=tmp_path / "cells.jsonl")
    assert again.get("a", lambda: pytest.fail("trained again"))["train"] == 1


def test_the_rate_goes_up_and_down(bench):
    schedule = bench("transfer_curves").schedule
    rates = [schedule(step, 20) for step in range(20)]
    assert rates[:3] == pytest.approx([0.5, 1, 18 / 19])
    assert rates[-1] == pytest.approx(1 / 19)


@pytest.mark.parametrize("task", ["digits", "transformer"])
@pytest.mark.parametrize("optimizer", ["SGD", "Adam", "Muon"])
def test_the_table_of_the_bench_is_the_one_that_a_transfer_shows(
    bench, monkeypatch, task, optimizer
):
    """Written twice: from shapes and names in the bench, from what grows on a batch in lazyrich."""
    schemes = bench("transfer_schemes")
    monkeypatch.setattr(schemes, "SEEDS_OF_TRANSFER", 1)
    family = schemes.Family(task=task, axis="width", sizes=(8, 16), other=1, steps=1)
    lr, init = schemes.factors_of(family, "table", optimizer, 16)
    shown, scaled = schemes.measured(family, optimizer, -8.0).mup_factors_at(16)
    assert set(lr) == set(shown)
    for name, factor in shown.items():
        assert math.isnan(factor) or lr[name] == pytest.approx(factor)
    readout = list(lr)[-2]
    assert init[readout] == pytest.approx(scaled[readout]) == pytest.approx(2**MUP_READOUT_INIT)


def test_the_factors_of_the_bench_are_applied_as_a_transfer_applies_its_own(bench):
    schemes = bench("transfer_schemes")
    family = schemes.Family(task="digits", axis="width", sizes=(8, 16), other=1, steps=1)
    found = schemes.measured(family, "Muon", -8.0)
    task, make = family.made(), schemes.OPTIMIZERS["Muon"][0]
    rates, weights = [], []
    for ours in (True, False):
        model = family.model(task, 16, 0)
        optimizers = make(model, 0.01)
        if ours:
            found.apply(model, optimizer=optimizers)
        else:
            factors = found.factors(model)
            schemes.apply(model, optimizers, (factors.lr, factors.init))
        named = {id(p): name for name, p in model.named_parameters()}
        rates.append(
            {
                named[id(p)]: group["lr"]
                for one in optimizers
                for group in one.param_groups
                for p in group["params"]
            }
        )
        weights.append(model.state_dict())
    assert rates[0] == rates[1]
    assert all(torch.equal(*pair) for pair in zip(*map(dict.values, weights), strict=True))


def test_a_small_proof_from_end_to_end(bench, tmp_path, monkeypatch):
    proof, schemes = bench("transfer"), bench("transfer_schemes")
    monkeypatch.setattr(schemes, "SEEDS_OF_TRANSFER", 1)
    monkeypatch.setattr(bench("transfer_regimes"), "DIRECTIONS", 2)
    families = [schemes.Family(task="residual", axis="depth", sizes=(1, 2), other=4, steps=2)]
    target = tmp_path / "record"
    asked = ["--only", "Adam", "--seeds", "2", "--cells", str(tmp_path / "cells.jsonl")]
    asked += ["--record", str(target), "--figure", str(tmp_path / "figure.png")]
    proof.main(asked, families)
    record = json.loads(target.with_suffix(".json").read_text("utf-8"))
    assert [row["scheme"] for row in record["summary"]] == list(proof.SCHEMES["Adam"])
    regimes = {one["verdict"] for part in record["parts"] for one in part["regimes"]}
    assert regimes <= {str(regime) for regime in Regime} | {"cannot tell"}
    assert (tmp_path / "figure.png").stat().st_size > 1000
    monkeypatch.setattr(proof, "trained", lambda *_: pytest.fail("trained again"))
    proof.main(asked, families)
    again = json.loads(target.with_suffix(".json").read_text("utf-8"))
    assert again["parts"] == record["parts"]
