"""OME-Zarr (0.4 in Zarr 2, 0.5 in Zarr 3, and their forerunners) through zarr."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..core.errors import SlideError
from ..core.lazy import lazy
from .chunks import ChunkFiles
from .pixel_size import unit_of_length
from .samples import SampleFormat, bits_used, notes_on
from .source import AS_OME_TIFF, RE_EXPORT, Stored, planes_note, whiten

if TYPE_CHECKING:
    import zarr
else:
    zarr = lazy("zarr")

_AXES = "tczyx"
"""Of versions that name no axes."""
_LOOKED_AT = 4_000_000


class OmeZarrSource:
    """One image of an OME-Zarr folder. Chunks that are not there are white, or what it states for them.

    series : index of the image where the folder holds several (as bioformats2raw writes them).
    """

    reader = "zarr"
    bounds = None
    absent = ""

    def __init__(self, path: Path, series: int) -> None:
        self._path = path
        group = _image(path, series)
        scales = _metadata(group)["multiscales"][0]
        self._arrays: list[Any] = [
            group[dataset["path"]] for dataset in scales["datasets"] if dataset["path"] in group
        ]
        if scales["datasets"][0]["path"] not in group:
            raise SlideError(path, "lacks its full resolution", RE_EXPORT)
        first = self._arrays[0]
        self._axes = _axis_names(scales, first.ndim)
        sizes = dict(zip(self._axes, first.shape, strict=True))
        channels = sizes.get("c", 1)
        if channels not in (1, 3) or not {"x", "y"} <= set(sizes):
            raise SlideError(
                path,
                f"has {channels} channel(s), which is neither RGB nor grey",
                "Export it as an RGB OME-TIFF",
            )
        planes = sizes.get("z", 1) * sizes.get("t", 1)
        self.notes: tuple[str, ...] = (planes_note(planes),) if planes > 1 else ()
        self._white = not first.metadata.fill_value
        self._leave_out_gaps(len(scales["datasets"]))
        self.levels = [Stored(self._size(array)) for array in self._arrays]
        self.mpp = _pixel_size(scales, self._axes)
        highest = self._highest()
        self._form = SampleFormat(high=highest)
        if self._white:
            self._arrays = [_filled(array, highest) for array in self._arrays]

    def read(self, level: int, x0: int, y0: int, x1: int, y1: int) -> NDArray[np.uint8]:
        rgb = self._form.to_rgb(self._raw(level, x0, y0, x1, y1))
        if self._white:  # all of a tile that lacks a channel
            whiten(rgb, ~self._files[level].stored, self._files[level].tile, x0, y0)
        return rgb

    def close(self) -> None:
        self._arrays = []

    def _leave_out_gaps(self, levels: int) -> None:
        """Find which chunks are not there, and leave out levels that lack what the full resolution has."""
        files = [ChunkFiles(array, self._axes) for array in self._arrays]
        full = files[0]
        if full.absent == full.count:
            raise SlideError(
                self._path,
                f"is an OME-Zarr without pixels: its full resolution has none of its {full.count} chunks",
                RE_EXPORT,
            )
        if any(one.absent for one in files):
            state = hashlib.sha256(b"".join(np.packbits(one.stored).tobytes() for one in files))
            self.absent = state.hexdigest()
        if full.absent:
            value = "white" if self._white else "the value that it states for them"
            self.notes += (
                f"lacks {full.absent} of the {full.count} chunks of its full resolution, which are read as "
                f"{value}: if it was not copied whole, copy it again",
            )
        kept = [number for number, one in enumerate(files) if number == 0 or not one.lacks(full)]
        if len(kept) < levels:
            self.notes += (
                f"lacks chunks of {levels - len(kept)} of its {levels - 1} coarser levels, which are not "
                "used: it was probably not copied whole; copy it again",
            )
        self._arrays = [self._arrays[number] for number in kept]
        self._files = [files[number] for number in kept]

    def _size(self, array: Any) -> tuple[int, int]:
        return int(array.shape[self._axes.index("x")]), int(array.shape[self._axes.index("y")])

    def _raw(self, level: int, x0: int, y0: int, x1: int, y1: int) -> NDArray[Any]:
        self._files[level].check(x0, y0, x1, y1)
        window = {"y": slice(y0, y1), "x": slice(x0, x1), "c": slice(None)}
        raw = np.asarray(self._arrays[level][tuple(window.get(axis, 0) for axis in self._axes)])
        kept = [axis for axis in self._axes if axis in window]
        raw = raw.transpose(sorted(range(len(kept)), key=lambda i: "yxc".index(kept[i])))
        return raw.reshape(*raw.shape[:2], -1)

    def _highest(self) -> float:
        dtype = self._arrays[0].dtype
        if dtype == np.uint8:
            return 255.0
        if (dtype.kind, dtype.itemsize) != ("u", 2):  # of either order of bytes
            raise SlideError(self._path, f"has {dtype} pixels", "Export it as 8-bit RGB")
        width, height = self.levels[-1].size
        rows = min(height, max(1, _LOOKED_AT // width))
        top = (height - rows) // 2
        largest = int(self._raw(len(self._arrays) - 1, 0, top, width, top + rows).max(initial=0))
        self.notes += notes_on(largest, 16)
        return float(2 ** bits_used(largest) - 1)


def _image(path: Path, series: int) -> zarr.Group:
    """The group that holds an image's levels. Raises SlideError."""
    try:
        group = zarr.open_group(path, mode="r")
    except (OSError, ValueError, KeyError) as error:
        raise SlideError(path, f"is a Zarr that cannot be opened ({error})", AS_OME_TIFF) from error
    content = _metadata(group)
    if "plate" in content:
        raise SlideError(path, "is an OME-Zarr of a plate with wells", "Add the wells' images one by one")
    if "bioformats2raw.layout" in content:
        if str(series) not in group:
            raise SlideError(path, f"has no image number {series + 1}")
        group, series = zarr.open_group(path / str(series), mode="r"), 0
    if series or not _metadata(group).get("multiscales"):
        missing = (
            f"has no image number {series + 1}" if series else "is a Zarr without an image as OME defines it"
        )
        raise SlideError(path, missing, AS_OME_TIFF)
    return group


def _filled(array: Any, value: float) -> Any:
    """The array with this value in place of chunks that are not there, within shards too."""
    metadata = dataclasses.replace(array.metadata, fill_value=array.dtype.type(value))
    return zarr.Array(zarr.AsyncArray(metadata=metadata, store_path=array.store_path, config=array.config))


def _metadata(group: zarr.Group) -> Mapping[str, Any]:
    """What OME wrote about a group: at the top up to 0.4, below "ome" from 0.5."""
    attributes = dict(group.attrs)
    within = attributes.get("ome")
    return within if isinstance(within, dict) else attributes


def _axis_names(scales: Mapping[str, Any], count: int) -> list[str]:
    named = scales.get("axes") or list(_AXES[-count:])
    return [str(axis["name"] if isinstance(axis, dict) else axis).lower() for axis in named]


def _pixel_size(scales: Mapping[str, Any], axes: list[str]) -> tuple[float, float] | None:
    """(x, y) µm per pixel of the finest level, from its scales and the units of its axes."""
    units = {
        str(axis["name"]).lower(): unit_of_length(axis.get("unit"))
        for axis in scales.get("axes") or ()
        if isinstance(axis, dict)
    }
    size = {"x": 1.0, "y": 1.0}
    stated = False
    first = scales["datasets"][0].get("coordinateTransformations") or ()
    for change in (*first, *(scales.get("coordinateTransformations") or ())):
        if change.get("type") == "scale" and isinstance(change.get("scale"), list):
            stated = True
            for axis, factor in zip(axes, change["scale"], strict=True):
                if axis in size:
                    size[axis] *= float(factor)
    x, y = (units.get(axis) for axis in "xy")
    if not stated or x is None or y is None or min(size.values()) <= 0:
        return None
    return size["x"] * x, size["y"] * y
