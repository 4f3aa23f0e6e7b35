"""Families of runs: their description, the store of results, the driver and its executors."""
