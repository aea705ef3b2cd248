"""Rules: what counts as best, a file each, listed in `named_rules.py`. Imports core/, task.py and rule.py. No JAX."""
