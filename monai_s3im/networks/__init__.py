"""The network of Fig. 2, its parts, and a pyramid network that shows both sources."""

from monai_s3im.networks.nets.pyramid_fusion import PyramidFusion
from monai_s3im.networks.nets.s3im_fusion import S3IMFusion

from .by_task import TaskNetworks
from .export import EXPORT_FORMATS, export_network, load_exported
from .weights import load_weights, read_manifest

__all__ = [
    "EXPORT_FORMATS",
    "PyramidFusion",
    "S3IMFusion",
    "TaskNetworks",
    "export_network",
    "load_exported",
    "load_weights",
    "read_manifest",
]
