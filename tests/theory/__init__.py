"""Tests of the exact theory."""
