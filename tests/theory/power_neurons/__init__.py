"""Tests of neurons of power β."""
