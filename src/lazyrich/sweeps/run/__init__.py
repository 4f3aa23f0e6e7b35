"""Run a study on local processes, any executor or a cluster."""
