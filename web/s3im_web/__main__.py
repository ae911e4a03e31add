"""``python -m s3im_web`` is ``s3im-web``."""

from .command import main

main()
