"""S3IMFusion: stochastic structural similarity guided fusion of multi-modal medical images.

Paper: A stochastic structural similarity guided approach for multi-modal medical image fusion,
Scientific Reports 2025, https://doi.org/10.1038/s41598-025-93662-6.
"""

__version__ = "0.1.0"
