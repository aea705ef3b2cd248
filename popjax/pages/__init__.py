"""The report: one page of figures and words. May import the store and the space; no JAX."""
