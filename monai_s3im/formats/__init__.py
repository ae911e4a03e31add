"""Read and write images of every format; a file is written complete or not at all."""
