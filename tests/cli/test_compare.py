"""`lazyrich compare`: two saved histories side by side."""

import pytest
import torch
from torch import nn

import lazyrich

from .run import answer, refusal, run


def watched(lr):
    torch.manual_seed(0)
    x = torch.randn(12, 3)
    model = nn.Sequential(nn.Linear(3, 16), nn.Tanh(), nn.Linear(16, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    probe = lazyrich.Probe(model, (x, x[:, :1]))
    with probe.watch(optimizer, when=lazyrich.every(10)):
        for _ in range(20):
            optimizer.zero_grad()
            (model(x) - x[:, :1]).square().mean().backward()
            optimizer.step()
    return probe


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("histories")
    slow, fast = watched(0.001), watched(0.3)
    slow.save(folder / "slow.nc")
    fast.save(folder / "fast.zarr")
    return slow, fast, folder


def test_it_says_what_the_library_says_and_writes_the_page(files, tmp_path):
    slow, fast, folder = files
    compared = lazyrich.compare(slow, fast, names=("slow.nc", "fast.zarr"))
    page = tmp_path / "pair.html"
    done = run("compare", folder / "slow.nc", folder / "fast.zarr", "--html", page)
    assert done.exit_code == 0, done.output
    assert done.stdout == f"{compared}\n"
    assert done.stderr == f"lazyrich: wrote {page}\n"
    same = lazyrich.write_comparison(compared, tmp_path / "same.html")
    assert page.read_text() == same.read_text()


def test_json(files):
    slow, _, folder = files
    found = answer("compare", folder / "slow.nc", folder / "fast.zarr")
    assert found["names"] == ["slow.nc", "fast.zarr"]
    assert found["regimes"][0] == slow.verdict().regime
    contrasts = {(one["quantity"], one["layer"]): one for one in found["contrasts"]}
    assert contrasts["ntk_change", None]["difference"] == "more"
    assert contrasts["loss", None]["first"]["low"] is None
    assert [layer["name"] for layer in found["layers"]] == ["0", "2"]


def test_runs_of_one_name_are_told_apart(files):
    folder = files[2]
    file = folder / "slow.nc"
    assert answer("compare", file, file)["names"] == ["slow.nc (first)", "slow.nc (second)"]
    other = folder / "other"
    other.mkdir(exist_ok=True)
    (other / "slow.nc").write_bytes(file.read_bytes())
    assert answer("compare", file, other / "slow.nc")["names"] == [
        str(file),
        str(other / "slow.nc"),
    ]


def test_refusals(files, tmp_path):
    good = files[2] / "slow.nc"
    assert "must end in .nc, .zarr or .json, got 'run.csv'" in refusal("compare", good, "run.csv")
    missing = tmp_path / "none.nc"
    assert f"there is no history at '{missing}'" in refusal("compare", missing, good)
    words = tmp_path / "words.nc"
    words.write_bytes(b"words")
    assert "words.nc must be what `probe.save` wrote, and it is not" in refusal(
        "compare", good, words
    )
    page = tmp_path / "page.png"
    assert "must end in .html, .htm" in refusal("compare", good, good, "--html", page)
    assert not page.exists()
