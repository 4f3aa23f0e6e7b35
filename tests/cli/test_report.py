"""`lazyrich report`: the page of a saved history."""

import json
import re

import pytest
import torch
import xarray as xr
from torch import nn

import lazyrich
from lazyrich._files import write_arrays

from .run import refusal, run


@pytest.fixture(params=[".nc", ".zarr", ".json"])
def saved(request, tmp_path):
    torch.manual_seed(0)
    x = torch.randn(12, 3)
    model = nn.Sequential(nn.Linear(3, 16), nn.Tanh(), nn.Linear(16, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    probe = lazyrich.Probe(model, (x, x[:, :1]))
    probe.forecast(optimizer=optimizer, max_steps=20)
    with probe.watch(optimizer, when=lazyrich.every(10)):
        for _ in range(20):
            optimizer.zero_grad()
            (model(x) - x[:, :1]).square().mean().backward()
            optimizer.step()
    probe.save(tmp_path / f"run{request.param}")
    return probe, tmp_path / f"run{request.param}"


def test_it_says_what_the_probe_said_and_writes_its_page(saved, tmp_path):
    probe, file = saved
    done = run("report", str(file), str(tmp_path / "page.html"))
    verdict = probe.verdict()
    told = f"What now? {' '.join(verdict.advice)}"
    assert done.stdout == f"{verdict.regime.upper()}. {verdict.sentence}\n{told}\n"
    lazyrich.write_report(probe.history, tmp_path / "same.html")
    page, same = (
        re.sub('srcdoc="[^"]*"', "", (tmp_path / name).read_text("utf-8"))  # arrays in their order
        for name in ("page.html", "same.html")
    )
    assert page == same


def test_json(saved, tmp_path):
    probe, file = saved
    found = json.loads(run("report", str(file), str(tmp_path / "page.html"), "--json").stdout)
    assert found["regime"] == probe.verdict().regime
    assert found["sentence"] == probe.verdict().sentence
    assert tuple(found["advice"]) == probe.verdict().advice


def test_refusals(tmp_path):
    page = str(tmp_path / "page.html")
    assert "must end in .nc, .zarr or .json, got 'run.csv'" in refusal("report", "run.csv", page)
    missing = str(tmp_path / "none.nc")
    assert f"there is no history at {missing!r}" in refusal("report", missing, page)
    assert "must end in .html, .htm, got 'page.png'" in refusal("report", missing, "page.png")
    broken = ("words.nc", "empty.nc", "folder.nc", "folder.zarr", "words.zarr", "words.json")
    for name in (*broken, "empty.json", "folder.json"):
        file = tmp_path / name
        if name.startswith("folder"):
            file.mkdir()
        else:
            file.write_bytes(b"words" if name.startswith("words") else b"")
        said = refusal("report", file, page)
        assert f"{name} must be what `probe.save` wrote, and it is not" in said
    (tmp_path / "list.json").write_text("[]")
    assert "list.json must be what `probe.save` wrote" in refusal(
        "report", tmp_path / "list.json", page
    )
    for suffix in (".nc", ".zarr", ".json"):
        other = tmp_path / f"other{suffix}"
        write_arrays(xr.Dataset({"loss": ("step", [1.0])}, {"step": [0]}), other)
        assert "`history` must be that of a probe, with the coordinates" in refusal(
            "report", other, page
        )
        bare = tmp_path / f"bare{suffix}"
        coords = {"step": [0, 1], "layer": ["0"]}
        write_arrays(xr.Dataset({"loss": ("step", [1.0, 1.0])}, coords), bare)
        assert "`history` must be that of a probe, with its attributes" in refusal(
            "report", bare, page
        )
    assert not (tmp_path / "page.html").exists()
