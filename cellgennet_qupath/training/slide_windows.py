"""Labelled windows of slides that are read when needed: memory does not grow with the annotated area."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..annotations.labels import UNKNOWN, LabelRasters, Split, Supervision
from ..annotations.windows import LabelBox, Place, inner_part, own_labels, render_window
from ..geometry.coordinates import grid_size
from ..geometry.rectangle import Rectangle
from ..qupath.images import open_image
from ..qupath.project import ImageEntry
from ..slides.normalisation import Normalisation
from ..slides.reader import SlideReader

_MEMORY = 64 << 20
"""Bytes of windows kept in memory; at 5 bytes per sample 13 megapixels, about as many as 40 regions have."""

_CUT, _WITHHELD = -2, -3
"""Packed labels besides nuclei, background (0) and unknown (-1): foreground without an object, withheld."""


@dataclass(frozen=True)
class TrainingSlide:
    """One readable image of the project at the working resolution; ``mpp`` is its own pixel size.

    key : the same for all images that show one slide.
    """

    entry: ImageEntry
    supervision: Supervision
    mpp: float | None
    downsample: float
    normalisation: Normalisation
    key: str

    def pixels(self, reader: SlideReader, box: Rectangle) -> tuple[NDArray[np.uint8], tuple[slice, slice]]:
        """A window on the sample grid as networks see slides, and which rows and columns are on the slide.

        Beyond the slide, and in a margin without data, is its mirror image, as in ``segment``.
        """
        pixels = reader.read_grid(box.x0, box.y0, box.columns, box.rows, self.downsample)
        size = grid_size(reader.width, reader.height, self.downsample)
        return self.normalisation.mirrored(pixels, (box.x0, box.y0), size, self.downsample)


class _Packed(NamedTuple):
    """A window's pixels, uint8 (rows, columns, 3), and its packed labels, int16 or int32 (rows, columns)."""

    pixels: NDArray[np.uint8]
    labels: NDArray[np.signedinteger]


class WindowCache:
    """The windows used last, up to ``limit`` bytes. Threads may share it."""

    def __init__(self, limit: int = _MEMORY) -> None:
        self._limit = limit
        self._kept: OrderedDict[SlideWindow, _Packed] = OrderedDict()
        self._bytes = 0
        self._turn = threading.Lock()

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, window: SlideWindow) -> _Packed:
        """The content of a window, read from its slide unless it is kept."""
        with self._turn:
            if window in self._kept:
                self._kept.move_to_end(window)
                return self._kept[window]
            packed = window.read()
            self._kept[window] = packed
            self._bytes += sum(array.nbytes for array in packed)
            while self._bytes > self._limit and len(self._kept) > 1:
                _, oldest = self._kept.popitem(last=False)
                self._bytes -= sum(array.nbytes for array in oldest)
            return packed


class SlideWindow:
    """A labelled window of a slide (see ``annotations.windows.Window``).

    For validation only what belongs to the window is known: windows that were one overlap.
    """

    def __init__(self, slide: TrainingSlide, split: Split, where: LabelBox, cache: WindowCache) -> None:
        self.slide, self.split, self.where = slide, split, where
        self._cache = cache
        labels, owned = self._render()
        self.n_nuclei = len(owned)
        self.n_known = int(np.not_equal(labels.foreground, UNKNOWN)[inner_part(where)].sum())

    def with_labels(self, slide: TrainingSlide, split: Split) -> SlideWindow:
        """The same window with the labels of the same slide for a split."""
        return SlideWindow(slide, split, self.where, self._cache)

    @property
    def source(self) -> str:
        return self.slide.entry.name

    @property
    def place(self) -> Place:
        return Place(self.slide.key, self.where.whole)

    @property
    def shape(self) -> tuple[int, int]:
        return self.where.box.rows, self.where.box.columns

    @property
    def image(self) -> NDArray[np.float32]:
        return self.slide.normalisation.apply(self._cache.get(self).pixels)

    @property
    def labels(self) -> LabelRasters:
        return _unpacked(self._cache.get(self).labels)

    @property
    def known(self) -> NDArray[np.bool_]:
        return np.not_equal(self.labels.foreground, UNKNOWN)

    def part(self, rows: slice, columns: slice) -> tuple[NDArray[np.float32], LabelRasters]:
        packed = self._cache.get(self)
        pixels = np.ascontiguousarray(packed.pixels[rows, columns])
        return self.slide.normalisation.apply(pixels), _unpacked(packed.labels[rows, columns])

    def read(self) -> _Packed:
        """The window's content, from the slide and the annotations. Raises SlideError."""
        with open_image(self.slide.entry) as reader:
            pixels, part = self.slide.pixels(reader, self.where.box)
        labels, _ = self._render()
        packed = labels.objects
        packed[(packed == UNKNOWN) & (labels.foreground == 1)] = _CUT
        packed[labels.withheld] = _WITHHELD
        beyond = np.ones(packed.shape, bool)
        beyond[part] = False
        packed[beyond & ~labels.withheld] = UNKNOWN
        few = packed.max(initial=0) <= np.iinfo(np.int16).max
        return _Packed(pixels, packed.astype(np.int16) if few else packed)

    def _render(self) -> tuple[LabelRasters, NDArray[np.int32]]:
        slide, where = self.slide, self.where
        labels, owned = render_window(slide.supervision, self.split, where, slide.downsample)
        if self.split is Split.VALIDATION:
            labels = own_labels(labels, owned, where)
        return labels, owned


def _unpacked(packed: NDArray[np.signedinteger]) -> LabelRasters:
    foreground = np.where((packed > 0) | (packed == _CUT), 1, np.where(packed == 0, 0, UNKNOWN))
    return LabelRasters(
        np.maximum(packed, UNKNOWN).astype(np.int32), foreground.astype(np.int8), packed == _WITHHELD
    )
