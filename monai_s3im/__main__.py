"""``python -m monai_s3im`` is ``s3im``."""

from .cli import main

if __name__ == "__main__":
    main()
