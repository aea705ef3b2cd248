"""A run on the disk: its files, commits, decisions and Results. May import core and space; no JAX."""
