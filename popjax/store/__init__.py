"""A run on disk: its files, commits, decisions and Results. May import the packages below it; no JAX."""
