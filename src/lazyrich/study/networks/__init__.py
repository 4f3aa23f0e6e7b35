"""Networks of studies and their parametrisations."""
