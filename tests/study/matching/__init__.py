"""Tests of what finds solved models for a network."""
