"""Hyperparameters: scales and their spelling, the Space, samplers, defaults. May import core; no JAX."""
