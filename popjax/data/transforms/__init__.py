"""Transforms, fitted on training rows and applied to all: a file each. May import what data/ may. No JAX here."""
