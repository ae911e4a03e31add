"""The S3IMFusion module of 3D Slicer, without its registration."""
