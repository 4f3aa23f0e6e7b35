"""Set how rich training will be, and check a family of widths."""
