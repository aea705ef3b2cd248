"""What is fitted on training rows and applied to all rows: a file each. May import what data/ may. No JAX here."""
