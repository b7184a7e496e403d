"""Metrics, and later the reading exam."""
