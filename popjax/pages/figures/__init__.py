"""The figures of the report: one file and one line in `FIGURES` each. No JAX here."""
