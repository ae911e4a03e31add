"""Files: images of every format in and out, and how a file is written whole or not at all."""
