"""One reader read by several threads, as segmenting and measuring do."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile

from cellgennet_qupath.slides.reader import open_slide


@pytest.mark.parametrize("ending", ["ome.tif", "tif", "png"])
def test_every_thread_gets_its_own_pixels(tmp_path: Path, ending: str) -> None:
    image = np.random.default_rng(0).integers(0, 256, (700, 900, 3), dtype=np.uint8)
    file = tmp_path / f"slide.{ending}"
    if ending == "png":
        cv2.imwrite(str(file), image[..., ::-1])
    else:
        tifffile.imwrite(file, image, tile=(128, 128), photometric="rgb", compression="deflate")
    with open_slide(file) as reader:

        def read(seed: int) -> bool:
            rng = np.random.default_rng(seed)
            same = []
            for _ in range(12):
                x, y = int(rng.integers(0, 800)), int(rng.integers(0, 600))
                same.append(
                    np.array_equal(reader.read_grid(x, y, 100, 100, 1.0), image[y : y + 100, x : x + 100])
                )
            return all(same)

        with ThreadPoolExecutor(4) as threads:
            assert all(threads.map(read, range(8)))
