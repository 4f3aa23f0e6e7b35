"""The exact part: a two-layer linear network solved at any width, from its Gram matrix."""
