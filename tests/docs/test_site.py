"""The documentation builds without a warning, draws its equations itself and loads nothing."""

import json
import re
from html import unescape
from inspect import isfunction
from pathlib import Path
from posixpath import dirname, join, normpath
from urllib.parse import unquote, urlsplit

import pytest

pytest.importorskip("material", reason="the documentation needs the extra 'dev'")

from tests.docs.building import ROOT, build, is_built

LOADS = re.compile(
    r"""<(?:script|img|iframe|source)\b[^>]*\bsrc=["']?(?:https?:)?//"""
    r"""|<link\b[^>]*\brel=["']?(?:stylesheet|preconnect|preload)[^>]*(?:https?:)?//"""
)
LINK = re.compile(r"""<[^>]*\s(?:href|src)=(?:"([^"]*)"|'([^']*)'|([^\s"'>]+))""")
ANCHOR = re.compile(r"""<[^>]*\s(?:id|name)=(?:"([^"]*)"|'([^']*)'|([^\s"'>]+))""")
OF_THE_THEME = {"__skip", "__drawer", "__search", "__consent"}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if is_built():
        return ROOT / "site"
    site = tmp_path_factory.mktemp("site")
    built = build(ROOT, site)
    assert built.returncode == 0, built.stdout + built.stderr
    return site


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[str, str]:
    return {str(page.relative_to(site)): page.read_text() for page in site.rglob("*.html")}


@pytest.mark.parametrize("word", ["notebook", "wandb", "citation", "gallery"])
def test_the_search_finds_what_people_look_for(site: Path, word: str) -> None:
    known = json.loads((site / "search" / "search_index.json").read_text("utf-8"))["docs"]
    assert any(word in f"{one['title']} {one['text']}".lower() for one in known)


def test_every_page_of_the_tutorial_can_be_downloaded_as_a_notebook(site: Path) -> None:
    tutorial = sorted((ROOT / "docs" / "tutorial").glob("*.md"))
    assert len(tutorial) == 5
    for page in [*tutorial, ROOT / "docs" / "notebooks" / "three-mechanisms.md"]:
        html = (site / page.relative_to(ROOT / "docs")).with_suffix(".html").read_text("utf-8")
        made = site / "notebooks" / f"{page.stem}.ipynb"
        assert json.loads(made.read_text("utf-8"))["nbformat"] == 4
        assert f"{page.stem}.ipynb" in html
        assert "source_hidden" not in html


def test_the_gallery_has_a_thumbnail_of_every_picture(pages: dict[str, str]) -> None:
    html = pages["gallery.html"]
    small = re.findall(r'<a href="#([^"]+)"><img src="([^"]+)"', html)
    assert len(small) >= 14
    for anchor, picture in small:
        assert f'id="{anchor}"' in html
        assert html.count(picture) == 2  # the other one is in its section


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


def found(pattern: re.Pattern[str], html: str) -> set[str]:
    return {unescape("".join(match.groups(""))) for match in pattern.finditer(html)}


def test_every_link_leads_somewhere_and_every_page_is_linked(
    site: Path, pages: dict[str, str]
) -> None:
    """Also links of raw HTML, which mkdocs does not look at, and what links to generated pages."""
    anchors = {name: found(ANCHOR, html) for name, html in pages.items()}
    linked = {"index.html", "404.html"}
    for name, html in pages.items():
        if name == "404.html":  # its links are from the root of a server
            continue
        for link in found(LINK, html):
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = normpath(join(dirname(name), unquote(parts.path))) if parts.path else name
            assert (site / target).exists(), f"{name} links {link}"
            anchor = unquote(parts.fragment)
            if anchor and target in pages and anchor not in OF_THE_THEME:
                assert anchor in anchors[target], f"{name} links {link}"
            if target != name:
                linked.add(target)
    assert set(pages) <= linked


def test_formulas_of_docstrings_are_mathml(pages: dict[str, str]) -> None:
    page = pages["reference/observables.html"]
    assert '<math aria-label="‖W‖_F² / ‖W‖_2²"' in page
    assert "<code>stable_rank</code>" in pages["concepts/glossary.html"]
