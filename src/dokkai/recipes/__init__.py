"""Recipes: one TOML file per data set and per published model; data, not code."""
