"""Where batches are trained: on this process's cores or devices."""
