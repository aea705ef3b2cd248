"""Hyperparameters: scales, their spelling, the Space, samplers, the defaults. May import core; no JAX."""
