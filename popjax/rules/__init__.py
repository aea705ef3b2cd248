"""Rules: what counts as best, one file each, listed in `named_rules.py`. Imports core, task, rule. No JAX."""
