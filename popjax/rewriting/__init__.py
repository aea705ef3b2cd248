"""How convolutions, pools and products are computed fast, by tracing a function. May import JAX alone."""
