"""Training by a recipe, one by one or many together."""
