"""Rules: what counts as best, a file each; `named.py` lists them. Imports core/, task.py and rule.py. No JAX here."""
