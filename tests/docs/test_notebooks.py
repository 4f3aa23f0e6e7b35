"""Notebooks: made from their pages, valid, without outputs, and run from top to bottom."""

import re
from pathlib import Path

import pytest

nbclient = pytest.importorskip("nbclient", reason="notebooks need the extra 'dev'")
pytest.importorskip("ipykernel", reason="notebooks need the extra 'dev'")
pytest.importorskip("jupytext", reason="notebooks need the extra 'dev'")

import nbformat  # noqa: E402
from docs.as_notebook import folded, notebook, sources  # noqa: E402

PAGES = {page.stem: page for page in sources()}


@pytest.fixture(params=PAGES)
def made(request):
    return nbformat.reads(notebook(PAGES[request.param].read_text("utf-8")), 4)


def test_there_is_one_of_every_step_and_a_lecture():
    assert "three-mechanisms" in PAGES
    tutorial = Path(__file__).parents[2] / "docs" / "tutorial"
    assert {page.stem for page in tutorial.glob("*.md")} <= set(PAGES)


def test_a_notebook_is_valid_and_has_no_output(made):
    nbformat.validate(made)
    cells = [cell for cell in made.cells if cell.cell_type == "code"]
    assert len(cells) >= 3
    for cell in cells:
        assert cell.outputs == []
        assert cell.execution_count is None
        assert ">>>" not in cell.source
        compile(cell.source, "cell", "exec")
    for cell in made.cells:
        assert not re.search(r"\]\((?!https?:)", cell.source), "a link that leads nowhere"


def test_a_page_gives_the_same_notebook_each_time():
    text = PAGES["three-mechanisms"].read_text("utf-8")
    assert notebook(text) == notebook(text)


@pytest.mark.timeout(300)
def test_it_runs_and_shows_its_figures(made, tmp_path):
    """In a kernel of its own; every cell that draws a figure shows a picture."""
    client = nbclient.NotebookClient(
        made, timeout=240, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    )
    client.execute()
    drawn = [cell for cell in made.cells if re.search(r"^\s*figure = ", cell.source, re.M)]
    assert drawn
    for cell in drawn:
        assert "image/png" in cell.outputs[-1].data, cell.source
    for cell in made.cells:
        for output in cell.get("outputs", ()):
            assert output.get("name") != "stderr", output.text


def test_solutions_are_hidden_in_the_notebook_and_folded_on_the_page():
    text = PAGES["three-mechanisms"].read_text("utf-8")
    cells = nbformat.reads(notebook(text), 4).cells
    hidden = [c for c in cells if c.metadata.get("jupyter", {}).get("source_hidden")]
    exercises = sum("**Exercise" in cell.source for cell in cells)
    assert len(hidden) == exercises == 4
    page = folded(text)
    assert page.count('??? success "Solution"') == exercises
    assert "source_hidden" not in page
