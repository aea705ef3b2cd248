"""`by_patches`, for the forward pass of a Task of your own with convolutions."""

from popjax.models.convolution import by_patches

__all__ = ["by_patches"]
