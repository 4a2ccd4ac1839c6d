"""A whole project: image after image, each on its own, resumable."""

from __future__ import annotations

import fnmatch
import hashlib
import json
import logging
import os
import shutil
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import shapely
from numpy.typing import NDArray

from .. import __version__
from ..bundle import Bundle
from ..core.errors import (
    CalibrationError,
    CellGenNetError,
    EntryDataError,
    Interrupted,
    UsageError,
)
from ..core.progress import SILENT, Reporter
from ..measure.cells import cell_outlines
from ..measure.compartments import measure_cells, stain_comes_first
from ..nuclei import Nuclei, NucleiBlocks
from ..qupath.images import open_image
from ..qupath.parents import parents_of
from ..qupath.project import (
    Existing,
    ImageEntry,
    Project,
    StainVectors,
    WriteOptions,
    WrittenDetections,
)
from ..qupath.stains import can_be_separated
from ..slides.normalisation import estimate
from ..slides.pixel_size import Calibration, downsample_for, resolve_mpp
from ..slides.reader import SlideReader
from ..slides.tissue import tissue_mask
from .checkpoint import Checkpoint, remove
from .model import Model
from .plan import Area, geometry_of_class, plan_tiles
from .result import ImageResult, why_nothing
from .segment import segment_slide
from .task import SlideTask

if TYPE_CHECKING:
    import distributed

    from ..networks.device import Device

_LOG = logging.getLogger(__name__)
_COARSE = 2.5
_LARGEST_PIXEL = 6.0  # µm


@dataclass(frozen=True)
class _Run:
    project: Project
    model: Model
    within: str | None
    tile: int
    mpp: float | None
    folder: Path
    reporter: Reporter
    writing: WriteOptions
    cells: float | None
    client: distributed.Client | None


def segment_project(
    project: Project,
    bundle: Bundle | Model,
    *,
    images: Sequence[str] = (),
    within: str | None = None,
    resume: bool = True,
    tile: int = 2048,
    mpp: float | None = None,
    threads: int = 0,
    device: Device | Literal["auto"] = "auto",
    workers: int = 1,
    dask: str | None = None,
    existing: Existing = "replace-own",
    cells: float | None = None,
    reporter: Reporter = SILENT,
) -> list[ImageResult]:
    """Put every nucleus of a project's images into the project, in place of those found before.

    images  : patterns (``*``, ``?``) of image names, slide file names or ids; all images without any.
    within  : only inside annotations of this class; images without one are skipped.
    resume  : go on with what an interrupted or partly failed run left; False begins anew.
    tile    : side of a tile's core in samples of the model's resolution; no result depends on it.
    mpp     : µm per pixel of images that have no pixel size.
    threads : processor threads of the network; 0: all.
    device  : what the network runs on.
    workers : processes of this computer among which tiles are shared out.
    dask    : address of a Dask scheduler whose workers do the tiles instead.
    existing: what becomes of detections that are there (see ``WriteOptions``).
    cells   : µm by which nuclei are grown into cells; None for nuclei without cells.

    What fails on one image is told in its result, and the others are still done. Raises UsageError where
    no image is meant, BundleError, and Interrupted (resumable) on Ctrl-C.
    """
    entries = _chosen(project, images)
    if workers > 1:
        threads = max(1, (threads or os.cpu_count() or 1) // workers)
    model = bundle if isinstance(bundle, Model) else Model.from_bundle(bundle, threads, device)
    runs = project.work_folder / "runs"
    if not resume:
        # Only what this command left: training runs lie in the same folder.
        for earlier in runs.glob("segment-*"):
            shutil.rmtree(earlier)
    computed = model.predictor.device
    name = "segment-" + _digest([__version__, model.fingerprint, computed, within, tile, mpp])
    told = {"model": bundle.card.name} if isinstance(bundle, Bundle) else {}
    told |= {"checksum": f"sha256:{model.fingerprint}", "cellgennet_qupath": __version__}
    told |= {"computed on": computed}
    told |= {} if cells is None else {"cells": f"{cells:g} µm"}
    writing = WriteOptions(existing, within, told)
    results: list[ImageResult] = []
    try:
        with _client(workers, dask) as client:
            run = _Run(project, model, within, tile, mpp, runs / name, reporter, writing, cells, client)
            for number, entry in enumerate(entries, start=1):
                reporter.say(f"[{number}/{len(entries)}] {entry.name}")
                result = _isolated(run, entry)
                results.append(result)
                if result.status == "failed":
                    reporter.warn(result.sentence())
    except KeyboardInterrupt as error:
        raise Interrupted(
            "segment",
            f"stopped; {len(results)} of {len(entries)} images are done, the next one in part",
            "Run the same command again to go on",
        ) from error
    if all(result.status != "failed" for result in results):
        for entry in entries:
            remove(runs / name / entry.id)
    return results


def _client(workers: int, address: str | None) -> AbstractContextManager[distributed.Client | None]:
    """The processes that do the tiles; None for this one."""
    if address is None and workers == 1:
        return nullcontext()
    from .workers import dask_workers, local_workers

    return local_workers(workers) if address is None else dask_workers(address)


def _chosen(project: Project, patterns: Sequence[str]) -> list[ImageEntry]:
    if not project.entries:
        raise UsageError(project.path, "holds no images", "Add slides to the project in QuPath")

    def matches(entry: ImageEntry, pattern: str) -> bool:
        names = [entry.name, entry.id, entry.slide.name if entry.slide else entry.name]
        return any(fnmatch.fnmatchcase(name, pattern) for name in names)

    for pattern in patterns:
        if not any(matches(entry, pattern) for entry in project.entries):
            raise UsageError(
                f"--image {pattern}",
                "no image of the project matches",
                f"Its images are: {', '.join(entry.name for entry in project.entries)}",
            )
    return [e for e in project.entries if not patterns or any(matches(e, p) for p in patterns)]


def _isolated(run: _Run, entry: ImageEntry) -> ImageResult:
    """The result of one image, whatever happens to it."""
    begin = time.monotonic()
    try:
        return _segment_image(run, entry)
    except Interrupted:
        raise
    except CellGenNetError as error:
        reason = str(error)
    except Exception as error:
        # A fault of ours (or of memory) on one slide must not take the night's other slides with it.
        _LOG.debug("segmenting %s failed", entry.name, exc_info=True)
        reason = f"unexpected {type(error).__name__}: {' '.join(str(error).split())}"
    return ImageResult(entry.id, entry.name, "failed", 0, reason, time.monotonic() - begin)


def _segment_image(run: _Run, entry: ImageEntry) -> ImageResult:
    begin = time.monotonic()
    within = None
    if run.within is not None:
        within = geometry_of_class(run.project.annotations(entry), run.within)
        if within is None:
            return ImageResult(entry.id, entry.name, "skipped", reason=f"no annotation of class {run.within}")
    with open_image(entry) as reader:
        calibration = resolve_mpp(entry.mpp, reader.mpp, run.mpp, entry.name)
        downsample = 1.0 if run.model.mpp is None else downsample_for(calibration, run.model.mpp)
        if calibration.mpp is not None and calibration.mpp > _LARGEST_PIXEL:
            raise CalibrationError(
                entry.name,
                f"has pixels of {calibration.mpp:.3g} µm, larger than a nucleus",
                "Correct the pixel size in QuPath (Image tab)",
            )
        if run.cells is not None and calibration.mpp is None:
            raise CalibrationError(entry.name, "has no pixel size, which --cells needs", "Give it with --mpp")
        stains = _stains(run, entry)
        if entry.mpp is None and calibration.mpp is not None:
            run.reporter.say(
                f"{entry.name}: is measured in pixels, as it has no pixel size in QuPath (Image tab)"
            )
        checkpoint = Checkpoint(
            run.folder / entry.id, _fingerprint(entry, reader, calibration, downsample, within, stains)
        )
        earlier = checkpoint.done
        how = {**asdict(run.writing), "cells": run.cells}
        if earlier is not None and Path(earlier["place"]).exists() and earlier.get("writing") == how:
            written = WrittenDetections(earlier["count"], Path(earlier["place"]), earlier["how"])
            return ImageResult(
                entry.id,
                entry.name,
                "done",
                written.count,
                earlier["reason"],
                written=written,
                device=earlier["device"],
            )
        if run.model.mpp is not None and downsample < 1 / _COARSE:
            run.reporter.warn(
                f"{entry.name}: its pixels ({calibration.mpp:.3g} µm) are much coarser than those that the "
                f"model was trained on ({run.model.mpp:.3g} µm). Expect little."
            )
        tissue = tissue_mask(reader, calibration.mpp)
        area = Area(tissue, within)
        tiles = plan_tiles(reader.width, reader.height, downsample, run.model, area, run.tile)
        task = SlideTask(
            pixels=reader,
            model=run.model,
            normalisation=estimate(reader, downsample, run.model.normalisation, tissue),
            downsample=downsample,
            mpp=entry.mpp,
            area=area,
            stains=stains,
        )
        if run.client is None:
            found = segment_slide(task, tiles, checkpoint, run.reporter)
        else:
            from .workers import spread_slide

            found = spread_slide(run.client, task, tiles, checkpoint, run.reporter)
        nuclei: NucleiBlocks = found
        if run.cells is not None:
            whole = found.nuclei  # a cell ends where its neighbours begin
            cells = _cells(run, entry, whole, run.cells, calibration, (reader.width, reader.height))
            first = stain_comes_first(run.project.version)
            measured = measure_cells(reader, whole.polygons, cells, task.measuring, first)
            nuclei = replace(whole, cells=cells, measurements=measured)
    reason = "" if len(found) else why_nothing(task, found, looked=bool(tiles), mpp=calibration.mpp)
    written = run.project.write_detections(entry, nuclei, run.writing)
    done = {"count": written.count, "place": str(written.place), "how": written.how, "reason": reason}
    checkpoint.finish({**done, "writing": how, "device": found.device})
    seconds = time.monotonic() - begin
    return ImageResult(entry.id, entry.name, "done", written.count, reason, seconds, written, found.device)


def _cells(
    run: _Run,
    entry: ImageEntry,
    nuclei: Nuclei,
    micrometres: float,
    calibration: Calibration,
    size: tuple[int, int],
) -> NDArray[np.object_]:
    """The outlines of cells, inside the annotation of ``--within`` that each nucleus lies in."""
    mpp = (calibration.mpp_x or 1.0, calibration.mpp_y or 1.0)
    within = None
    if run.within is not None:
        annotations = run.project.annotations(entry)
        shape_of = {a.id: shapely.make_valid(a.geometry) for a in annotations}
        within = np.array(
            [shape_of.get(parent) for parent in parents_of(nuclei, annotations, run.within)], dtype=object
        )
    return cell_outlines(nuclei.polygons, micrometres, mpp, size, within)


def _stains(run: _Run, entry: ImageEntry) -> StainVectors | None:
    """The stains to measure. What QuPath counts in other numbers than 0 to 255 is not measured."""
    if entry.channels != 3 or entry.pixel_type != "UINT8":
        return None
    stains = run.project.stains(entry)
    if stains is None:
        run.reporter.say(
            f"{entry.name}: stains are not measured, as QuPath knows none for it (Image tab > Image type)"
        )
    elif not can_be_separated(stains):
        raise EntryDataError(
            entry.name,
            "its stain vectors cannot be told apart",
            "Set them again in QuPath (Analyze > Preprocessing > Estimate stain vectors)",
        )
    return stains


def _fingerprint(
    entry: ImageEntry,
    reader: SlideReader,
    calibration: Calibration,
    downsample: float,
    within: shapely.Geometry | None,
    stains: StainVectors | None,
) -> dict[str, Any]:
    """What an image's tiles depend on besides the run: the slide's file, scale and stains, and the area."""
    state = reader.path.stat()
    return {
        "slide": reader.path.name,
        "bytes": state.st_size,
        "modified": state.st_mtime_ns,
        "series": entry.series,
        "size": [reader.width, reader.height],
        "mpp": [calibration.mpp_x, calibration.mpp_y],
        "measured in": None if entry.mpp is None else list(entry.mpp),
        "stains": None if stains is None else json.loads(json.dumps(asdict(stains))),
        "downsample": downsample,
        "within": None if within is None else hashlib.sha256(shapely.to_wkb(within)).hexdigest(),
    }


def _digest(content: object) -> str:
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:12]
