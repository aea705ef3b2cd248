"""Tables: CSV, Parquet, NPZ and frames as a Dataset, and its splits. May import the packages below it; no JAX."""
