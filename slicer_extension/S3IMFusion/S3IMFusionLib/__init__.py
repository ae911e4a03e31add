"""The parts of the S3IMFusion module."""
