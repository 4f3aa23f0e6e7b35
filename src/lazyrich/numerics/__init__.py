"""Numerics that know neither theory nor PyTorch: exact sums, spacings, boundaries, windows."""
