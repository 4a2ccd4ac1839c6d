"""A network that reads its answer off the colours, and pictures drawn for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from cellgennet_qupath.core.config import NormalisationConfig
from cellgennet_qupath.geometry.grid import Tile
from cellgennet_qupath.segmentation.decode import DecodingConfig
from cellgennet_qupath.segmentation.model import Model
from cellgennet_qupath.segmentation.plan import Area, plan_tiles
from cellgennet_qupath.segmentation.task import SlideTask
from cellgennet_qupath.slides.normalisation import Normalisation
from cellgennet_qupath.slides.tissue import TissueMask

Disc = tuple[float, float, float]


def draw(width: int, height: int, discs: list[Disc]) -> NDArray[np.uint8]:
    """White paper with nuclei (x, y, radius, QuPath's convention): red falls with foreground, green with
    the distance to the border."""
    image = np.full((height, width, 3), 255, np.uint8)
    y, x = np.mgrid[:height, :width] + 0.5
    for cx, cy, radius in discs:
        rows = slice(max(0, int(cy - radius - 1)), max(0, int(cy + radius + 2)))
        columns = slice(max(0, int(cx - radius - 1)), max(0, int(cx + radius + 2)))
        distance = np.hypot(x[rows, columns] - cx, y[rows, columns] - cy)
        inside = np.clip(1 - distance / radius, 0, 1)
        part = image[rows, columns]
        part[..., 0] = np.where(inside > 0, 20, part[..., 0])
        part[..., 1] = np.minimum(part[..., 1], (255 * (1 - inside)).astype(np.uint8))
    return image


@dataclass
class ColourReader:
    """The fake network: half resolution, a context, and a memory of the phase of its grid."""

    stride: int = 2
    unit: int = 16
    context: int = 9
    streams: int = 1
    device: str = "paper"
    before: Callable[[int], None] = lambda call: None
    strength: float = 1.0
    calls: int = 0

    def predict(self, images: NDArray[np.float32], rim: int = 0) -> NDArray[np.float32]:
        self.before(self.calls)
        self.calls += 1
        n, height, width, _ = images.shape
        assert height % self.unit == width % self.unit == 0
        darkness = np.clip(1 - images[..., :2], 0, 1)
        halved = darkness.reshape(n, height // 2, 2, width // 2, 2, 2).mean(axis=(2, 4), dtype=np.float64)
        # Zeros beyond the tile, as a network pads; different answers at different phases of the grid.
        # Light: blurring shrinks what is round.
        weights = np.array([1, 14, 1]) / 16
        maps = np.stack(
            [cv2.sepFilter2D(one, -1, weights, weights, borderType=cv2.BORDER_CONSTANT) for one in halved]
        )
        phase = 1 - 0.02 * (np.arange(width // 2) % (self.unit // 2)) / self.unit
        edge = rim // self.stride
        inner = np.s_[:, edge : height // 2 - edge, edge : width // 2 - edge]
        return (maps * phase[:, None] * self.strength).astype(np.float32)[inner]


@dataclass
class Paper:
    """A slide in memory."""

    image: NDArray[np.uint8]
    reads: int = 0
    width: int = field(init=False)
    height: int = field(init=False)

    def __post_init__(self) -> None:
        self.height, self.width = self.image.shape[:2]

    def read_grid(
        self, x: int, y: int, columns: int, rows: int, downsample: float, fill: int = 255
    ) -> NDArray[np.uint8]:
        assert downsample == 1
        self.reads += 1
        out = np.full((rows, columns, 3), fill, np.uint8)
        x0, x1 = np.clip([x, x + columns], 0, self.width)
        y0, y1 = np.clip([y, y + rows], 0, self.height)
        out[y0 - y : y1 - y, x0 - x : x1 - x] = self.image[y0:y1, x0:x1]
        return out

    def close(self) -> None:
        return None


def model(predictor: ColourReader | None = None, **rule: Any) -> Model:
    return Model(
        predictor=predictor or ColourReader(),
        mpp=0.25,
        decoding=DecodingConfig.model_validate({"max_extent_um": 12.0, "blur_um": 0.5, **rule}),
        normalisation=NormalisationConfig(),
        path_class="Nucleus",
        fingerprint="fake",
        block=96,
    )


def everywhere(width: int, height: int) -> Area:
    return Area(TissueMask(np.ones((1, 1), bool), float(max(width, height))))


def task(
    image: NDArray[np.uint8], tile: int, area: Area | None = None, **rule: Any
) -> tuple[SlideTask, list[Tile]]:
    """A slide at full resolution and its plan."""
    paper = Paper(image)
    wanted = area or everywhere(paper.width, paper.height)
    one = SlideTask(
        pixels=paper,
        model=model(**rule),
        normalisation=Normalisation(np.zeros(3), np.full(3, 255.0)),
        downsample=1.0,
        mpp=(0.25, 0.25),
        area=wanted,
    )
    return one, plan_tiles(paper.width, paper.height, 1.0, one.model, wanted, tile)
