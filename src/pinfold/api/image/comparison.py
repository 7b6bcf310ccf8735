"""Compare a stream of bytes with the files of images, without keeping the stream."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from typing import Final

from pinfold.api.image.catalog import PLAINLY, CatalogImage

PIECE: Final = 1 << 20
"""How many bytes of a stream are compared at once."""


class Comparison:
    """Finds the image whose file equals a stream. It holds no file open between two pieces, and drops an image at its first difference.

    `size` is how many bytes have come.
    """

    def __init__(self, images: Sequence[CatalogImage]) -> None:
        self._alike = tuple(images)
        self.size = 0

    def add(self, piece: bytes) -> None:
        """Compare the next bytes of the stream."""
        self._alike = tuple(image for image in self._alike if _has(image, self.size, piece))
        self.size += len(piece)

    def equal(self) -> CatalogImage | None:
        """The first image that equals the whole stream, or None."""
        return next((image for image in self._alike if image.size == self.size), None)


def _has(image: CatalogImage, offset: int, piece: bytes) -> bool:
    """Whether an image's file has these bytes at that place. A file that cannot be read has none."""
    if offset + len(piece) > image.size:
        return False
    try:
        handle = os.open(image.path, PLAINLY)
    except OSError:
        return False
    try:
        return stat.S_ISREG(os.fstat(handle).st_mode) and os.pread(handle, len(piece), offset) == piece
    except OSError:
        return False
    finally:
        os.close(handle)
