"""`lazyrich report`: the page of a saved history."""

import json

import pytest
import torch
from torch import nn

import lazyrich

from .run import refusal, run


@pytest.fixture(params=[".nc", ".zarr"])
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
    assert done.stdout == f"{verdict.regime.upper()}. {verdict.sentence}\n"
    lazyrich.write_report(probe.history, tmp_path / "same.html")
    assert (tmp_path / "page.html").read_text() == (tmp_path / "same.html").read_text()


def test_json(saved, tmp_path):
    probe, file = saved
    found = json.loads(run("report", str(file), str(tmp_path / "page.html"), "--json").stdout)
    assert found["regime"] == probe.verdict().regime
    assert found["sentence"] == probe.verdict().sentence


def test_refusals(tmp_path):
    page = str(tmp_path / "page.html")
    assert "must end in .nc or .zarr, got 'run.csv'" in refusal("report", "run.csv", page)
    missing = str(tmp_path / "none.nc")
    assert f"there is no history at {missing!r}" in refusal("report", missing, page)
