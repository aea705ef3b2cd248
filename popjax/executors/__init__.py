"""Where else a search trains: an executor a file, each anything with `submit(fn, *args) -> Future`. No JAX here."""
