"""Backends that train batches: on this process's cores or devices, or on an executor."""
