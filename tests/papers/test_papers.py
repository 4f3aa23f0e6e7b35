"""Every script runs at smoke scale; records, claims and READMEs fit together."""

import ast
import json
import math
import re
from importlib import import_module

import numpy as np
import pytest
import xarray as xr

pytest.importorskip("torch")
pytest.importorskip("matplotlib")

from papers import catalogue, claims, harness
from papers.findings import INTERVAL

import lazyrich as lr
from lazyrich import InputError, LazyRichError
from tests.cli.run import answer, refusal, run

CLAIM = re.compile(r"\*\*(\d+[a-z]?)\*\*")
ALL = [(paper, figure) for paper in harness.papers() for figure in harness.figures(paper)]
MODULES = {
    "lr": "lazyrich",
    "linear": "lazyrich.theory.two_layer_linear",
    "plot": "lazyrich.plot",
    "study": "lazyrich.study",
    "sweeps": "lazyrich.sweeps",
}
SCRIPTS = sorted(harness.HOME.rglob("*.py"))


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    return tmp_path_factory.mktemp("papers")


@pytest.mark.parametrize(("paper", "figure"), ALL)
def test_script_runs_and_its_figure_comes_from_the_record(paper, figure, out):
    place = out / paper
    target = f"{paper}/{figure}"
    for needed in getattr(import_module(f"papers.{paper}.{figure}"), "NEEDS", ()):
        if not (place / "records" / "smoke" / f"{needed}.json").is_file():
            harness.reproduce(f"{paper}/{needed}", scale="smoke", out=out)
    (made,) = harness.reproduce(target, scale="smoke", out=out)
    assert {row["verdict"] for row in harness.judge(made)} == {"not judged"}

    path = place / "records" / "smoke" / f"{figure}.json"
    record = json.loads(path.read_text(), parse_constant=pytest.fail)
    _check(record, paper, figure)

    picture = place / "figures" / "smoke" / f"{figure}.png"
    first = picture.read_bytes()
    picture.unlink()
    (place / "runs").rename(place / "hidden") if (place / "runs").exists() else None
    try:
        again = answer("reproduce", target, "--scale", "smoke", "--out", out, "--plot")
    finally:
        (place / "hidden").rename(place / "runs") if (place / "hidden").exists() else None
    assert [row["finding"] for row in again["findings"]] == list(catalogue.expected(paper)[figure])
    assert record == made
    assert picture.read_bytes() == first


def _check(record, paper, figure):
    assert (record["paper"], record["figure"], record["scale"]) == (paper, figure, "smoke")
    assert record["command"] == f"lazyrich reproduce {paper}/{figure} --scale smoke"
    assert record["seconds"]["this_command"] > 0
    assert set(record["versions"]) == set(harness.PACKAGES)
    assert all(re.fullmatch("[0-9a-f]{64}", digest) for digest in record["sources"].values())
    assert f"{figure}.py" in record["sources"]
    for part in record["studies"].values():
        assert part["seeds"]
        assert sum(part["statuses"].values()) == part["points"]
        assert part["description"]["experiment"].startswith(f"papers.{paper}.")
    for name, found in record["findings"].items():
        assert set(found) == {"value", "n", "low", "high", "sd", "of"}, name
        assert found["n"] > 0
        if found["low"] is not None and found["high"] is not None:
            assert found["low"] <= found["high"]
            assert found["of"]
    assert set(catalogue.expected(paper)[figure]) <= set(record["findings"])
    assert not re.search(r'"/\w', json.dumps(record)), "a path of this machine"


@pytest.mark.parametrize("paper", harness.papers())
def test_every_claim_has_a_script_and_an_expectation(paper):
    text = (harness.HOME / paper / "README.md").read_text()
    claims = set(CLAIM.findall(text.split(harness.MARKS[0])[0]))
    wanted = catalogue.expected(paper)
    assert list(wanted) == harness.figures(paper)
    assert {entry["claim"] for part in wanted.values() for entry in part.values()} == claims
    for figure, part in wanted.items():
        assert f"`{figure}.py`" in text
        for entry in part.values():
            assert entry["claim"].startswith(figure.removeprefix("fig"))
            assert entry["why"].endswith((".", "%"))
            assert "low" in entry or "high" in entry
            assert entry.get("low", -math.inf) <= entry.get("high", math.inf)


@pytest.mark.parametrize("paper", harness.papers())
def test_readme_shows_the_records(paper):
    text = (harness.HOME / paper / "README.md").read_text()
    shown = text.split(harness.MARKS[0])[1].split(harness.MARKS[1])[0]
    assert shown.strip() == claims.results(paper).strip()


@pytest.mark.parametrize(("paper", "figure"), ALL)
def test_the_laptop_record_is_kept_and_fits_its_script(paper, figure):
    record = harness.read(paper, figure, "laptop")
    assert set(catalogue.expected(paper)[figure]) <= set(record["findings"])
    assert (harness.HOME / paper / "figures" / "laptop" / f"{figure}.png").is_file()
    assert {row["verdict"] for row in harness.judge(record)} <= {
        *("reproduced", "not reproduced", "undecided", "not measured"),
        *("holds by construction", "broken"),
    }


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: str(path.relative_to(harness.HOME)))
def test_papers_use_the_public_package_alone(script):
    for node in ast.walk(ast.parse(script.read_text())):
        if isinstance(node, ast.Import):
            assert all(
                name.name == "lazyrich" or "lazyrich" not in name.name for name in node.names
            )
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("lazyrich"):
            public = _public(node.module)
            assert {name.name for name in node.names} <= public, node.module
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            module = MODULES.get(node.value.id)
            assert module is None or node.attr in _public(module), node.attr


def _public(module):
    return {*import_module(module).__all__, "__version__"}


def test_slope_is_that_of_each_repeat():
    widths = np.array([1.0, 10.0, 100.0])
    values = xr.DataArray(
        np.outer([1.0, 50.0], widths**-0.5),
        dims=("seed", "width"),
        coords={"width": widths},
    )
    found = harness.slope(values, "width")
    assert found.value == pytest.approx(-0.5)
    assert (found.low, found.high) == pytest.approx((-0.5, -0.5))


def test_slope_interval_covers_the_truth(rng):
    widths = np.geomspace(1, 100, 5)
    noise = np.exp(0.3 * rng.normal(size=(400, 3, 5)))
    held = 0
    for part in noise:
        values = xr.DataArray(part / widths, dims=("seed", "width"), coords={"width": widths})
        found = harness.slope(values, "width")
        held += found.low <= -1 <= found.high
    assert held / 400 == pytest.approx(0.95, abs=0.03)


def test_mean_interval_is_students():
    found = harness.mean([1.0, 2.0, 3.0])
    assert (found.value, found.n, found.sd) == (2.0, 3, 1.0)
    assert found.high == pytest.approx(2 + 4.302652729911275 / 3**0.5)


def test_rank_correlation_of_a_monotone_pair_is_one():
    found, p = harness.rank_correlation(range(8), np.exp(np.arange(8.0)))
    assert (found.value, found.low, found.high) == pytest.approx((1, 1, 1))
    assert p < 1e-6


@pytest.mark.parametrize(
    ("ends", "verdict"),
    [
        ((0.2, 0.4), "reproduced"),
        ((1.2, 1.4), "not reproduced"),
        ((0.2, 1.4), "undecided"),
        ((None, None), "undecided"),
        ((0.2, math.nan), "undecided"),
    ],
)
def test_judging(monkeypatch, ends, verdict):
    entry = {"claim": "1a", "says": "", "low": 0.0, "high": 1.0, "why": ""}
    monkeypatch.setattr(claims, "expected", lambda paper: {"fig1": {"x": entry}})
    found = vars(harness.Finding(value=0.3, n=2, low=ends[0], high=ends[1], of=INTERVAL))
    record = {"paper": "p", "figure": "fig1", "scale": "laptop", "findings": {"x": found}}
    assert harness.judge(record)[0]["verdict"] == verdict
    assert harness.judge(record | {"scale": "smoke"})[0]["verdict"] == "not judged"
    assert harness.judge(record | {"findings": {}})[0]["verdict"] == "not measured"


@pytest.mark.parametrize(
    ("finding", "verdict"),
    [
        (harness.mean([0.3]), "undecided"),
        (harness.Finding(value=0.3, n=1), "reproduced"),
        (harness.Finding(value=0.3, n=1, of="runs: largest difference"), "reproduced"),
        (harness.Finding(value=1.3, n=1), "not reproduced"),
        (harness.Finding(value=math.nan, n=1), "not measured"),
        (harness.mean([math.nan, 0.3]), "not measured"),
    ],
)
@pytest.mark.parametrize("bounds", [{"low": 0.0}, {"high": 1.0}, {"low": 0.0, "high": 1.0}])
def test_a_number_is_exact_if_no_interval_was_asked_for(monkeypatch, finding, verdict, bounds):
    """A record says the same before and after it was JSON."""
    if verdict == "not reproduced" and "high" not in bounds:
        verdict = "reproduced"
    entry = {"claim": "1a", "says": "", **bounds, "why": ""}
    monkeypatch.setattr(claims, "expected", lambda paper: {"fig1": {"x": entry}})
    found = {"x": vars(finding)}
    record = {"paper": "p", "figure": "fig1", "scale": "laptop", "findings": found}
    assert harness.judge(record)[0]["verdict"] == verdict
    assert harness.judge(json.loads(json.dumps(harness._plain(record))))[0]["verdict"] == verdict


def test_lists_the_papers():
    assert "xu2025three" in answer("reproduce")


def test_refusals(tmp_path):
    assert "the papers are" in refusal("reproduce", "nobody1999nothing")
    assert "has the figures fig1" in refusal("reproduce", "xu2025three/fig99")
    missing = refusal("reproduce", "xu2025three/fig1", "--out", tmp_path, "--plot")
    assert "there is no record of xu2025three/fig1 at scale 'laptop'" in missing
    assert "must be a folder with harness.py" in refusal("reproduce", "--papers", tmp_path)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "harness.py").touch()  # would be shadowed by the module `papers`
    assert "called 'papers', got" in refusal("reproduce", "--papers", tmp_path / "other")
    absent = ("--data-dir", tmp_path / "typo", "--out", tmp_path / "out")
    assert "does not exist" in refusal("reproduce", "xu2025three/fig4", *absent)
    assert not (tmp_path / "out").exists()
    with pytest.raises(InputError, match="the papers are"):
        harness.figures("nobody1999nothing")


def _seen(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_by_default_a_folder_of_its_own_is_written_and_nothing_else(tmp_path, monkeypatch):
    """The records of the repository stay, and so does what its README shows."""
    monkeypatch.chdir(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(harness, "_refresh_readme", lambda paper: pytest.fail("README renewed"))
        found = answer("reproduce", "xu2025three/fig2", "--scale", "smoke")
    assert found["findings"]
    assert [path.name for path in tmp_path.iterdir()] == ["reproduced"]
    made = tmp_path / "reproduced" / "xu2025three"
    assert {"records/smoke/fig2.json", "figures/smoke/fig2.png"} <= set(_seen(made))
    said = run("reproduce", "xu2025three/fig2", "--scale", "smoke").stdout
    assert "Records and figures: reproduced/xu2025three" in said


def test_plot_draws_from_what_was_run_here_else_from_what_is_kept(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = answer("reproduce", "xu2025three/fig2", "--plot")
    kept = harness.read("xu2025three", "fig2", "laptop")
    assert [row["value"] for row in found["findings"]] == [
        row["found"]["value"] for row in harness.judge(kept)
    ]
    assert [*_seen(tmp_path)] == ["reproduced/xu2025three/figures/laptop/fig2.png"]
    record = tmp_path / "reproduced/xu2025three/records/laptop/fig2.json"
    record.parent.mkdir(parents=True)
    name = next(iter(kept["findings"]))
    findings = {**kept["findings"], name: {**kept["findings"][name], "n": 12345}}
    record.write_text(json.dumps({**kept, "findings": findings}))
    found = answer("reproduce", "xu2025three/fig2", "--plot")
    assert 12345 in [row["n"] for row in found["findings"]]


def test_the_repository_itself_is_renewed_if_it_is_named(tmp_path, monkeypatch):
    renewed = []
    monkeypatch.chdir(harness.HOME.parent)
    monkeypatch.setattr(harness, "_refresh_readme", renewed.append)
    monkeypatch.setattr(harness, "_draw", lambda record, place: None)
    harness.reproduce("xu2025three/fig2", scale="laptop", out=harness.HOME.name, only_plot=True)
    harness.reproduce("xu2025three/fig2", scale="laptop", out=None, only_plot=True)
    assert renewed == ["xu2025three"] * 2


def test_progress_is_said_where_there_is_no_terminal(tmp_path):
    """Each study with its size, and how long the figure took; with --json nothing."""
    call = ("reproduce", "xu2025three/fig1", "--scale", "smoke", "--out", tmp_path)
    lines = run(*call).stderr.splitlines()
    script = import_module("papers.xu2025three.fig1")
    assert lines[0] == f"xu2025three/fig1: {catalogue.subject(script.__doc__)}"
    record = harness.read("xu2025three", "fig1", "smoke", tmp_path / "xu2025three")
    for name, study in record["studies"].items():
        assert f"xu2025three/fig1: study {name}, {study['points']} points" in lines
    assert re.fullmatch(r"xu2025three/fig1: done in \d+ s", lines[-1])
    assert run(*call, "--json").stderr == ""


def test_a_missing_record_names_the_command_that_makes_it(tmp_path):
    said = refusal("reproduce", "xu2025three/fig1", "--out", tmp_path, "--plot")
    made = f"`lazyrich reproduce xu2025three/fig1 --scale laptop --out {tmp_path}`"
    assert f"in {tmp_path}. Run {made} first." in said


@pytest.mark.parametrize("text", ["", "{", "[]", '{"paper": "xu2025three"}', "\xff"])
def test_a_damaged_record_is_refused(tmp_path, text):
    path = tmp_path / "xu2025three" / "records" / "laptop" / "fig1.json"
    path.parent.mkdir(parents=True)
    path.write_bytes(text.encode("latin-1"))
    said = refusal("reproduce", "xu2025three/fig1", "--out", tmp_path, "--plot")
    assert f"{path} must be a record, and it is none or is damaged. Delete it and run" in said


OTHER_CODE = "ignore:the experiment:lazyrich.StoreWarning"  # the tests put other methods in


@pytest.mark.filterwarnings(OTHER_CODE)
def test_an_interrupted_study_goes_on(tmp_path, monkeypatch):
    """What is stored is not run again."""
    from papers.xu2025three.line import OnALine

    bench = harness.Bench(paper="xu2025three", figure="fig1", scale="smoke", out=tmp_path)
    plan = {"experiment": OnALine, "axes": {"width": [50]}, "base": {"preset": "ntk", "between": 1}}
    first = bench.sweep(lr.Study(name="few", seeds=[0], **plan))
    monkeypatch.setattr(OnALine, "run", lambda self: pytest.fail("ran again"))
    assert bench.sweep(lr.Study(name="few", seeds=[0], **plan)).equals(first)


def _broken(self):
    raise OSError(f"no data for seed {self.seed}")


@pytest.mark.filterwarnings(OTHER_CODE)
def test_a_failed_point_is_tried_again(tmp_path, monkeypatch):
    from papers.xu2025three.line import OnALine

    bench = harness.Bench(paper="xu2025three", figure="fig1", scale="smoke", out=tmp_path)
    plan = {"experiment": OnALine, "axes": {"width": [50]}, "base": {"preset": "ntk", "between": 1}}
    few = lr.Study(name="few", seeds=[0], **plan)
    with monkeypatch.context() as patch:
        patch.setattr(OnALine, "run", _broken)
        with pytest.raises(LazyRichError, match=r"1 of the 1 points of .*'few' failed: .*seed 0"):
            bench.sweep(few)
    assert bench.log == {}
    assert bench.sweep(few).status.values.tolist() == [["finished"]]


@pytest.mark.filterwarnings(OTHER_CODE)
def test_a_failed_point_of_an_earlier_plan_is_none_of_this_one(tmp_path, monkeypatch):
    from papers.xu2025three.line import OnALine

    bench = harness.Bench(paper="xu2025three", figure="fig1", scale="smoke", out=tmp_path)
    plan = {"experiment": OnALine, "axes": {"width": [50]}, "base": {"preset": "ntk", "between": 1}}
    with monkeypatch.context() as patch:
        patch.setattr(OnALine, "run", _broken)
        with pytest.raises(LazyRichError, match="2 of the 2 points of the study 'few' failed"):
            bench.sweep(lr.Study(name="few", seeds=[0, 1], **plan))
    found = bench.sweep(lr.Study(name="few", seeds=[2], **plan))
    assert found.status.values.tolist() == [["finished"]]
    assert bench.log["few"]["statuses"] == {"finished": 1}


def test_workers_find_the_papers(tmp_path):
    bench = harness.Bench(
        paper="xu2025three", figure="fig1", scale="smoke", out=tmp_path, workers=1
    )
    plan = {"experiment": "papers.xu2025three.line:OnALine", "base": {"width": 50, "between": 1}}
    found = bench.sweep(lr.Study(name="few", axes={"preset": ["ntk"]}, **plan))
    assert found.status.values.tolist() == [["finished"]]
    assert (tmp_path / "runs" / "smoke" / "fig1" / "few").is_dir()


def test_papers_in_one_folder_do_not_meet(tmp_path):
    harness.reproduce("xu2025three/fig2", scale="smoke", out=tmp_path)
    with pytest.raises(InputError, match="there is no record of beaglehole2024alignment/fig2"):
        harness.reproduce(
            "beaglehole2024alignment/fig2", scale="smoke", out=tmp_path, only_plot=True
        )
    (again,) = harness.reproduce("xu2025three/fig2", scale="smoke", out=tmp_path, only_plot=True)
    assert again["paper"] == "xu2025three"
