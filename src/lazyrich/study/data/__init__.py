"""Data sets: embedded, from their own files, from tables, from formulas."""
