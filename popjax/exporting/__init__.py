"""Functions of JAX as ONNX models."""
