"""The one place where pixel grids of different resolutions are converted into each other.

Full-resolution coordinates follow QuPath: x runs to the right, y down, and the pixel in column ``c``
covers [c, c + 1), so its centre is at c + 0.5. A *sample grid* of downsample ``d`` is anchored at
the image's origin: sample ``i`` covers [i * d, (i + 1) * d), with its centre at (i + 0.5) * d.
Array indices of a tile count from the tile's first sample ``origin`` (in samples, may be negative).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def edge_to_full(edge: ArrayLike, downsample: float, origin: float = 0.0) -> NDArray[np.float64]:
    """Full-resolution coordinate of sample EDGES: edge i is where sample i begins."""
    return (np.asarray(edge, dtype=np.float64) + origin) * downsample


def full_to_edge(full: ArrayLike, downsample: float, origin: float = 0.0) -> NDArray[np.float64]:
    """The inverse of ``edge_to_full``."""
    return np.asarray(full, dtype=np.float64) / downsample - origin


def grid_size(width: int, height: int, downsample: float) -> tuple[int, int]:
    """(columns, rows) of the sample grid that covers a whole image of full-resolution size."""
    return (
        max(1, int(np.ceil(width / downsample - 1e-6))),
        max(1, int(np.ceil(height / downsample - 1e-6))),
    )
