"""Tests: the layout mirrors src."""
