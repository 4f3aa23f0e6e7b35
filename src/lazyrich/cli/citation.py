"""How to cite the software and the papers behind it."""

from __future__ import annotations

import re
from importlib.resources import files

FIELD = re.compile(r"^  (\w+) = \{+(.*?)\}+,$", re.MULTILINE)


def software_entries() -> list[str]:
    """The BibTeX entries of lazyrich and of the papers that it follows, as CITATION.cff has them.

    Example:
        >>> print(software_entries()[0].splitlines()[0])
        @software{lazyrich,
    """
    return files("lazyrich").joinpath("citation.bib").read_text("utf-8").strip().split("\n\n")


def in_one_line(entry: str) -> str:
    """A BibTeX entry as a line of a list of references.

    Args:
        entry: one entry of `software_entries`.

    Example:
        >>> print(in_one_line(software_entries()[1]))
        Xu & Ziyin, Three Mechanisms of Feature Learning in a Linear Network, 2025, arXiv:2401.07085
    """
    fields = dict(FIELD.findall(entry))
    *others, last = (name.partition(",")[0] for name in fields["author"].split(" and "))
    authors = f"{', '.join(others)} & {last}" if others else last
    parts = [authors, fields["title"]]
    if "version" in fields:
        parts.append(f"version {fields['version']}")
    parts.append(fields["year"])
    if "eprint" in fields:
        parts.append(f"arXiv:{fields['eprint']}")
    return ", ".join(parts)
