"""Richness as the knob that is tuned."""
