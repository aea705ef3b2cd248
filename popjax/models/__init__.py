"""One model's code: layers, the built-in models, the door for nnx and linen modules. May import what is below."""
