"""The documentation builds without a warning, draws its equations itself and loads nothing."""

import os
import re
import subprocess
import sys
from inspect import isfunction
from pathlib import Path

import pytest

pytest.importorskip("material", reason="the documentation needs the extra 'dev'")

ROOT = Path(__file__).parents[2]
LOADS = re.compile(
    r"""<(?:script|img|iframe|source)\b[^>]*\bsrc=["']?(?:https?:)?//"""
    r"""|<link\b[^>]*\brel=["']?(?:stylesheet|preconnect|preload)[^>]*(?:https?:)?//"""
)


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    site = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", site]
    built = subprocess.run(
        command,
        cwd=ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1", "PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    return {str(page.relative_to(site)): page.read_text() for page in site.rglob("*.html")}


def test_every_equation_is_mathml(pages: dict[str, str]) -> None:
    theory = [html for name, html in pages.items() if name.startswith("theory/")]
    assert len(theory) >= 6
    for html in theory:
        assert "<math" in html
        assert "arithmatex" not in html
    for name, html in pages.items():
        words = re.sub(r"<code.*?</code>", "", html, flags=re.DOTALL)
        assert not re.search(
            r"\\[a-zA-Z]{2,}", re.sub(r"<script.*?</script>", "", words, flags=re.S)
        ), name


def test_no_page_loads_anything_from_the_network(pages: dict[str, str]) -> None:
    for name, html in pages.items():
        assert not LOADS.search(html), name


def test_every_quantity_is_in_the_table(pages: dict[str, str]) -> None:
    from docs.vocabulary import vocabulary

    table = pages["concepts/glossary.html"]
    for name in vocabulary():
        assert f"<td><code>{name}</code></td>" in table


def test_every_public_name_is_in_the_reference(pages: dict[str, str]) -> None:
    from tests.contracts.public import public_paths

    reference = "".join(html for name, html in pages.items() if name.startswith("reference/"))
    for path, value in public_paths().items():
        assert f'id="{path}"' in reference, path
        if isfunction(value):  # and not the module of its name
            assert f'id="{path}.' not in reference, path


def test_formulas_of_docstrings_are_mathml(pages: dict[str, str]) -> None:
    page = pages["reference/observables.html"]
    assert '<math aria-label="‖W‖_F² / ‖W‖_2²"' in page
    assert "<code>stable_rank</code>" in pages["concepts/glossary.html"]
