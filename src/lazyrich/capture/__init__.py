"""One look at a network that leaves no trace in it."""
