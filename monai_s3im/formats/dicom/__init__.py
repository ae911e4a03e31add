"""DICOM: the series of a folder, their slices as a volume, the study they belong to, and a series written into it."""
