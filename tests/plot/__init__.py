"""Figures: drawn without warnings or global state, saved whole or not at all."""
