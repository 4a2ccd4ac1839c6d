"""What a user chooses when segmenting a project."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from ..qupath.project import ExistingPolicy, Within

if TYPE_CHECKING:
    from ..networks.device import Device, Precision


@dataclass(frozen=True)
class SegmentOptions:
    """How a project is segmented.

    images  : names of images or of slide files, or patterns (``*``, ``?``); what is written exactly comes
              first. All images if this and ``image_ids`` are empty.
    image_ids: ids of images. An iterator is asked for the next id when an image is done.
    within  : segment only inside annotations of this class; images without one are skipped.
    within_ids: the same for annotations of these ids.
    cores   : the same for cores of a tissue microarray that have these names; "all" is all but the missing.
    resume  : continue what an interrupted or partly failed run left; False starts again.
    tile    : side of a tile's core in samples of the model's resolution; results do not depend on it.
    mpp     : µm per pixel of images that have no pixel size.
    threads : processor threads of the network; 0: all.
    device  : what the network runs on.
    precision: of its arithmetic (see ``networks.device.in_bfloat16``).
    workers : processes on this computer that share the tiles.
    dask    : address of a Dask scheduler whose workers take the tiles instead.
    worker_timeout: seconds to wait where the scheduler has no worker; None: without end.
    existing: what happens to existing detections (see ``WriteOptions``).
    cells   : µm by which nuclei are expanded into cells; None for nuclei without cells.
    threshold, min_area, split, scale: changes of the model's rules; None for none (see ``adjust``).
    views   : 4 averages the maps over mirrored views, at four times the network's time.
    """

    images: Sequence[str] = ()
    image_ids: Sequence[str] | Iterator[str] = ()
    within: str | None = None
    within_ids: Sequence[str] = ()
    cores: Sequence[str] = ()
    resume: bool = True
    tile: int = 2048
    mpp: float | None = None
    threads: int = 0
    device: Device | Literal["auto"] = "auto"
    precision: Precision = "auto"
    workers: int = 1
    dask: str | None = None
    worker_timeout: float | None = None
    existing: ExistingPolicy = "replace-own"
    cells: float | None = None
    threshold: float | None = None
    min_area: float | None = None
    split: Literal["more", "less"] | None = None
    scale: float | None = None
    views: int = 1

    @property
    def inside(self) -> Within:
        """The objects inside which to segment."""
        return Within(self.within, tuple(self.within_ids), tuple(self.cores))
