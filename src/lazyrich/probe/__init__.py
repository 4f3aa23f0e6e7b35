"""Measure, forecast and steer a user's own PyTorch network."""
