"""Run, resume and summarise a batch of pairs, in processes of this machine or on a Ray cluster."""

from .run import fuse_batch

__all__ = ["fuse_batch"]
