"""The embedded default data: a seeded 3D head phantom, with which training, fusing and tests need no other data."""

from .imaging import HeadPhantom, gaussian_blur, head_phantom
from .training_set import write_phantom

__all__ = ["HeadPhantom", "gaussian_blur", "head_phantom", "write_phantom"]
