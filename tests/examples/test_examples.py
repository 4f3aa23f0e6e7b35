"""The scripts of the repository run: the tour whole, the others as far as their command line."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="the tour's data need the extra 'data'")

ROOT = Path(__file__).parents[2]
SCRIPTS = [ROOT / "examples" / f"diagram_{name}.py" for name in ("linear", "luo", "relu")]


def run(script: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(script), *map(str, arguments)], capture_output=True, text=True
    )


def test_the_tour_ends_with_its_report(tmp_path):
    """The main job: theory, recursion and PyTorch agree, and the dial gave what it says."""
    done = run(ROOT / "examples" / "tour.py", "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "tour.json").read_text())
    for case in record["cases"].values():
        assert case["recursion_against_pytorch"] < 1e-12
        assert abs(case["slope"] - 1) < 0.02
    assert {name: run["regime"] for name, run in record["measured"].items()} == {
        "lazy": "lazy",
        "rich": "rich",
    }
    page = (tmp_path / "summary.html").read_text("utf-8")
    assert page.count("<img") >= 4
    assert {"lazy.html", "rich.html", "comparison.png"} <= {one.name for one in tmp_path.iterdir()}


@pytest.mark.parametrize("name", ["scaling_exponents", "neuron_and_modes", "power_neurons"])
def test_a_picture_of_the_theory_is_drawn(name, tmp_path):
    done = run(ROOT / "examples" / f"{name}.py", "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / f"{name.replace('_', '-')}.png").stat().st_size > 20_000


def test_the_picture_of_balanced_networks_shows_what_its_page_says(tmp_path, monkeypatch):
    """Zero at both ends of a square, at one of a funnel, at none of a bottleneck."""
    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    import balanced_linear as example

    assert example.draw(tmp_path / "a.png", 2).stat().st_size > 5000
    ends = {
        label: example.distances(np.array([-100.0, 100.0]), outputs=k, inputs=m, width=h).values
        for label, (k, m, h) in example.SHAPES.items()
    }
    lazy = {label: [bool(x) for x in values < 1e-3] for label, values in ends.items()}
    assert lazy == {
        "4 → 4 → 4": [True, True],
        "8 → 3 → 3": [False, True],
        "4 → 2 → 4": [False, False],
    }


def test_the_picture_of_diagonal_networks_shows_what_its_page_says(tmp_path, monkeypatch):
    """From the least-squares fit to the sparsest, sooner in deeper networks."""
    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    import diagonal_linear as example

    assert example.draw(tmp_path / "a.png", 3).stat().st_size > 5000
    x, y = example.problem()
    found = example.fits(np.array([1e-12, 1e-2, 1e3]))
    least = np.abs(np.linalg.lstsq(x, y, rcond=None)[0]).sum()
    np.testing.assert_allclose(found.l1_norm.sel(init_scale=1e3), least, rtol=1e-6)
    np.testing.assert_allclose(found.l1_norm.sel(init_scale=1e-12), 1.8, rtol=0.02)
    assert (np.diff(found.l1_norm.sel(init_scale=1e-2)) < 0).all()


def test_the_picture_of_all_models_shows_what_its_page_says(tmp_path, monkeypatch):
    """One curve for two layers from zero output; none that is lazy downstream or balanced."""
    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    import lazy_where as example

    assert example.draw(tmp_path / "a.png", 3).stat().st_size > 20_000
    lazy, rich = 10 / 21**0.5, 1 / 3**0.5  # √(1 + 1/χ²) − 1 is 0.1 and 1 there
    chi = np.array([0.01, rich, 1.0, lazy, 10.0, 100.0])
    found = {label: change(chi) for label, change in example.MODELS.items()}
    curve = np.sqrt(1 + 1 / chi**2) - 1
    for label in ("two layers on a line", "λ-balanced, 3 → 3 → 3", "diagonal, 2 factors"):
        np.testing.assert_allclose(found[label], curve, rtol=2e-4)
    np.testing.assert_allclose(curve[[1, 3]], [1.0, 0.1], rtol=1e-12)
    upstream, downstream = found["neuron, upstream"], found["neuron, downstream"]
    np.testing.assert_allclose((upstream / curve)[-1], 2.5**0.5 / 2, rtol=1e-3)
    np.testing.assert_allclose(downstream[-1], 2**0.5, rtol=1e-4)
    assert downstream.min() > 1.4
    for label, begins in (("neuron, upstream", 1.928), ("diagonal, 5 factors", 6.435)):
        around = example.MODELS[label](begins * np.array([0.999, 1.001]))
        assert around[0] > 0.1 > around[1]
    deep = found["diagonal, 5 factors"]
    assert (deep[[3, 4, 5]] / curve[[3, 4, 5]] > [3, 10, 60]).all()
    modes = found["balanced modes, 2 to ∞ layers"]
    np.testing.assert_allclose(modes, np.abs(1 / chi - 1), atol=1e-9)
    for layers in (3, 7, np.inf):
        np.testing.assert_allclose(example.mode(chi, layers=layers), modes, atol=1e-9)
    for exponents in example.widths(example.GAMMAS).values():
        np.testing.assert_allclose(exponents, example.GAMMAS - 1, atol=1e-12)


def test_the_picture_of_the_catapult_shows_what_its_page_says(tmp_path, monkeypatch):
    """Up to 2 nothing flies; to 3 the start's size does not matter; beyond it does."""
    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    import catapult as example

    assert example.draw(tmp_path / "a.png", 9).stat().st_size > 20_000
    found = example.ends(np.array([1.0, 1.9, 2.5, 3.7]))
    spread = (found.max("init_output") - found.min("init_output")).values
    assert (spread[:3] < 2e-3).all()
    assert spread[3] > 0.3
    np.testing.assert_allclose(
        found.sel(init_sharpness=[1.0, 1.9]).min("init_output"), [1, 1.9], 1e-2
    )


def test_the_picture_of_barlow_twins_shows_what_its_page_says(tmp_path, monkeypatch):
    """All weights of a linear embedding step where its modes do."""
    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    import barlow_twins as example

    assert example.draw(tmp_path / "a.png", 40).stat().st_size > 20_000
    _, seen, foretold = example.eigenvalues(60)
    np.testing.assert_allclose(seen, foretold, atol=1e-3)
    assert seen[-1].min() > 0.9


def test_steps_of_a_network_on_digits(tmp_path, monkeypatch):
    """The smallest size of the script whose record is in the docs."""
    monkeypatch.syspath_prepend(str(ROOT / "examples" / "related"))
    import stepwise_ssl as example

    example.main("smoke", 1, tmp_path)
    record = json.loads((tmp_path / "related-stepwise_ssl.json").read_text("utf-8"))
    assert record["summary"]["width_16_eigenvalues_that_step"] == [2, 2, 2]
    assert record["summary"]["width_16_largest_error_of_a_step"][0] < 0.2


def test_the_picture_of_contrastive_energy_shows_what_its_page_says(tmp_path, monkeypatch):
    """One maximum and its negative of a linear neuron, more of a ReLU neuron."""
    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    import contrastive_energy as example

    assert example.draw(tmp_path / "a.png", 90).stat().st_size > 20_000
    found = example.contrastive_maxima(example.SAMPLES)
    assert found.sizes["maximum"] > 2
    at = np.arctan2(*found.unit_weight.values.T[::-1])
    np.testing.assert_allclose(
        example.energy(at, lambda z: np.maximum(z, 0)), found.contrastive_energy, rtol=1e-12
    )
    assert (np.abs(example.SAMPLES @ found.unit_weight.values.T) < 1e-9).any()


def test_the_picture_of_weight_decay_is_drawn(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    import weight_decay_chain as example

    assert example.draw(tmp_path / "a.png", 9).stat().st_size > 20_000


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_a_diagram_says_its_options(script):
    done = run(script, "--help")
    assert done.returncode == 0, done.stderr
    assert "--workers" in done.stdout


@pytest.mark.parametrize(
    "script", sorted((ROOT / "bench").glob("*.py")), ids=lambda script: script.stem
)
def test_a_benchmark_finds_all_that_it_imports(script):
    if "nngeometry" in script.read_text("utf-8"):
        pytest.importorskip("nngeometry", reason="scripts/bench installs it")
    code = f"import runpy, sys; sys.path.insert(0, {str(script.parent)!r}); " + (
        f"runpy.run_path({str(script)!r}, run_name='imported')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_richness_is_tuned_and_goes_wide(tmp_path, monkeypatch):
    """In fewer steps than by itself; the rich end is better already, at both widths."""
    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    import tune_richness as example

    from lazyrich.plot import save

    monkeypatch.setattr(example, "STEPS", 100)
    found = example.tuned(seeds=2, richness=(0.1, 1.0, 10.0), lr_scales=(1.0,))
    assert found.richness == 10
    assert save(found.figure(), tmp_path / "curve.png").stat().st_size > 20_000
    best = found.best.mean_test_loss
    assert example.wide(found, 256) < float(best.sel(richness=0.1)) / 2
