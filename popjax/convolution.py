"""`by_patches`, for the forward pass of a custom Task with convolutions."""

from popjax.models.rewriting import by_patches

__all__ = ["by_patches"]
