"""The locations of the documentation and of the library.

The library is inside this package in Slicer, next to it in a wheel, else in the checkout.
"""

import importlib
import sys
from pathlib import Path
from types import ModuleType

HOMEPAGE = "https://github.com/OWNER/S3IMFusion"
DOCUMENTATION = f"{HOMEPAGE}/blob/main/slicer_extension/README.md"


def library_paths() -> list[Path]:
    """The folders that a child process needs on its path to import ``monai_s3im`` and find its bundle.

    Raises:
        FileNotFoundError: if the extension is incomplete.
    """
    here = Path(__file__).resolve().parent
    for folder in (here / "library", here.parent, here.parents[2]):
        if (folder / "monai_s3im" / "__init__.py").is_file():
            return [folder]
    raise FileNotFoundError(f"monai_s3im is not in {here / 'library'}: install the S3IMFusion extension again")


def library_module(name: str) -> ModuleType:
    """Import a torch-free module of ``monai_s3im`` (``modalities``, ``settings``, ``record``) into this process.

    The folder is not left on the path, where other imports would find it.

    Raises:
        FileNotFoundError: if the extension is incomplete.
    """
    folder = str(library_paths()[0])
    sys.path.insert(0, folder)
    try:
        return importlib.import_module(f"monai_s3im.{name}")
    finally:
        sys.path.remove(folder)
