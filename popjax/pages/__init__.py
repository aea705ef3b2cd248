"""The report: one page of figures and text. May import the store and the space; no JAX."""
