"""An image in memory, as measuring reads slides."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray


@dataclass
class Picture:
    """``reads``: columns and rows of each read so far."""

    pixels: NDArray[np.uint8]
    reads: list[tuple[int, int]] = field(default_factory=list)
    width: int = field(init=False)
    height: int = field(init=False)

    def __post_init__(self) -> None:
        self.height, self.width = self.pixels.shape[:2]

    def read_grid(
        self, x: int, y: int, columns: int, rows: int, downsample: float, fill: int = 255
    ) -> NDArray[np.uint8]:
        assert downsample == 1
        self.reads.append((columns, rows))
        return self.pixels[y : y + rows, x : x + columns]
