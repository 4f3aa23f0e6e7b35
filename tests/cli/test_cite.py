"""One citation: CITATION.cff, the entries that ship, the README, the page and the command agree."""

from pathlib import Path

import pytest

import lazyrich
from lazyrich.cli.citation import in_one_line, software_entries
from tests.cli.run import answer, run

ROOT = Path(__file__).parents[2]
KINDS = {"conference-paper": "inproceedings", "article": "article"}


def bibtex(of, kind, title, *, key, extra):
    """A BibTeX entry of one part of CITATION.cff."""
    people = [
        f"{one['family-names']}, {one['given-names']}" if "family-names" in one else one
        for one in of["authors"]
    ]
    names = [one if isinstance(one, str) else f"{{{one['name']}}}" for one in people]
    fields = {"author": " and ".join(names), "title": f"{{{title}}}", **extra}
    lines = [f"  {name} = {{{value}}}," for name, value in fields.items()]
    return "\n".join([f"@{kind}{{{key},", *lines, "}"])


@pytest.fixture(scope="module")
def cff():
    yaml = pytest.importorskip("yaml", reason="the documentation needs the extra 'dev'")
    return yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))


def test_the_entries_are_those_of_the_citation_file(cff):
    title = f"{cff['title']}: {cff['abstract'].rstrip('.')}"
    extra = {"version": cff["version"], "year": cff["date-released"].year}
    expected = [bibtex(cff, cff["type"], title, key=cff["title"], extra=extra)]
    for one in cff["references"]:
        (number,) = (x["value"].removeprefix("arXiv:") for x in one["identifiers"])
        held = {"booktitle": one["conference"]["name"]} if "conference" in one else {}
        extra = {**held, "year": one["year"], "eprint": number, "archivePrefix": "arXiv"}
        first, kind = one["authors"][0]["family-names"].lower(), KINDS[one["type"]]
        (folder,) = (path.name for path in (ROOT / "papers").glob(f"{first}{one['year']}*"))
        expected.append(bibtex(one, kind, one["title"], key=folder, extra=extra))
    assert software_entries() == expected
    assert cff["version"] == lazyrich.__version__


def test_readme_and_page_show_them():
    shipped = (ROOT / "src" / "lazyrich" / "citation.bib").read_text("utf-8")
    assert "## Cite\n\nIf" in (readme := (ROOT / "README.md").read_text("utf-8"))
    assert f"```bibtex\n{shipped}```\n" in readme
    page = (ROOT / "docs" / "cite.md").read_text("utf-8")
    assert '```bibtex\n--8<-- "src/lazyrich/citation.bib"\n```' in page


def test_the_command_prints_them():
    entries = software_entries()
    lines = [in_one_line(entry) for entry in entries]
    assert run("cite").stdout.splitlines() == lines
    assert lines[0].startswith("The lazyrich authors, lazyrich: Solve, measure, ")
    assert lines[0].endswith(f", version {lazyrich.__version__}, 2026")
    assert run("cite", "--bibtex").stdout.rstrip("\n") == "\n\n".join(entries)
    assert answer("cite") == {"references": lines, "bibtex": entries}
