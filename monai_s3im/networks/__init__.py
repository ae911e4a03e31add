"""The network of Fig. 2 and its parts."""

from .nets.s3im_fusion import S3IMFusion
from .weights import load_weights, read_manifest

__all__ = ["S3IMFusion", "load_weights", "read_manifest"]
