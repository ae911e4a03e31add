"""Where the documentation is, and the library that fuses.

The library lies inside this package in Slicer, beside it in a wheel, else in the checkout.
"""

from pathlib import Path

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
