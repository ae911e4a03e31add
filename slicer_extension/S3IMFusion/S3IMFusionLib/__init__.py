"""The submodules of the S3IMFusion module."""

import sys

if sys.version_info < (3, 11):  # noqa: UP036 - Slicer up to 5.8 has Python 3.9, in which the imports below would fail
    raise ImportError("S3IMFusion needs Slicer 5.10 or later: the Python of this Slicer is older than 3.11")
