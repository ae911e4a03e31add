"""Open DICOM files, including deflated ones, which are unpacked only as far as needed."""

import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

MOST_OF_A_HEADER = 2**24
"""Largest header in bytes; no image has a larger one."""

_DEFLATED, _PLAIN = b"1.2.840.10008.1.2.1.99", b"1.2.840.10008.1.2.1\0\0\0"
_SYNTAX = b"\x02\0\x10\0UI" + len(_DEFLATED).to_bytes(2, "little") + _DEFLATED
_START = 132  # bytes of preamble and DICM
_META_LENGTH = b"\x02\0\0\0UL\x04\0"
_LARGEST_META = 2**16  # bytes


@contextmanager
def opened(file: Path, most: int = MOST_OF_A_HEADER) -> Iterator[BinaryIO]:
    """Open a file; a deflated one reads as if written uncompressed (PS3.5 A.5).

    Args:
        file: the file.
        most: largest number of bytes to unpack from a deflated file.
    """
    with file.open("rb") as stream:
        first = stream.read(_START + 12)
        meta = b""
        if first[128:_START] == b"DICM" and first[_START : _START + 8] == _META_LENGTH:
            meta = stream.read(min(int.from_bytes(first[-4:], "little"), _LARGEST_META))
        if _SYNTAX in meta:
            rest = zlib.decompressobj(-zlib.MAX_WBITS).decompress(stream.read(), most)
            yield io.BytesIO(first + meta.replace(_DEFLATED, _PLAIN) + rest)
        else:
            stream.seek(0)
            yield stream
