"""Executors, one per file: they train elsewhere; each has `submit(fn, *args) -> Future`. No JAX here."""
