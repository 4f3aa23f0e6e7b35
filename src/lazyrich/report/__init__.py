"""The report: one self-contained HTML page about a watched training run."""

from lazyrich.report.write import write

__all__ = ["write"]
