"""Transfer of hyperparameters across width and depth, by measuring what the first steps do."""
