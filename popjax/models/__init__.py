"""Models: layers, the built-in models, nnx and linen modules as functions. May import the packages below it."""
