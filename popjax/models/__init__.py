"""One model's code: layers, the built-in networks, the door for nnx and linen modules. May import what is below."""
