"""DICOM: find series in folders, read their slices as a volume, and write a fused series into the study."""
