"""One image of a project in four steps: prepare, segment, grow cells, write."""

from __future__ import annotations

import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from ..geometry.grid import Tile
from ..measure.cells import cell_outlines
from ..measure.compartments import measure_cells, stain_comes_first
from ..nuclei import Nuclei, NucleiChunks
from ..qupath.images import open_image
from ..qupath.parents import parents_of
from ..qupath.project import ImageEntry, WrittenDetections
from ..slides.normalisation import estimate
from ..slides.tissue import tissue_mask
from .assemble import SlideNuclei
from .checkpoint import Checkpoint
from .plan import Area, geometry_of_class, plan_tiles
from .prepare import Prepared, Run, prepare, warn_if_coarse
from .result import ImageResult, why_nothing
from .slide import segment_slide
from .task import SlideTask


def segment_image(run: Run, entry: ImageEntry) -> ImageResult:
    """Segment one image and write its nuclei into the project.

    Raises SlideError, CalibrationError and EntryDataError, which name the image and the reason.
    """
    begin = time.monotonic()
    within = None
    if run.options.within is not None:
        within = geometry_of_class(run.project.annotations(entry), run.options.within)
        if within is None:
            reason = f"no annotation of class {run.options.within}"
            return ImageResult(entry.id, entry.name, "skipped", reason=reason)
    with open_image(entry) as reader:
        image = prepare(run, entry, reader, within)
        checkpoint = Checkpoint(run.folder / entry.id, image.fingerprint)
        earlier = _earlier(run, entry, checkpoint)
        if earlier is not None:
            return earlier
        warn_if_coarse(run, image)
        task, tiles = _plan(run, image)
        slide = _segment(run, task, tiles, checkpoint)
        nuclei: NucleiChunks = slide
        if run.options.cells is not None:
            nuclei = _grow_cells(run, image, task, slide.nuclei, run.options.cells)
    reason = "" if len(slide) else why_nothing(task, slide, bool(tiles), image.calibration.mpp)
    written = run.project.write_detections(entry, nuclei, run.writing)
    _finish(run, checkpoint, written, reason, slide.device)
    seconds = time.monotonic() - begin
    return ImageResult(entry.id, entry.name, "done", written.count, reason, seconds, written, slide.device)


def _plan(run: Run, image: Prepared) -> tuple[SlideTask, list[Tile]]:
    """All that decides which nuclei are on the slide, and the tiles to segment."""
    reader = image.reader
    tissue = tissue_mask(reader, image.calibration.mpp)
    for finding in tissue.findings:
        run.reporter.warn(f"{image.entry.name}: {finding}.")
    area = Area(tissue, image.within)
    task = SlideTask(
        pixels=reader,
        model=run.model,
        normalisation=estimate(reader, image.downsample, run.model.normalisation, tissue),
        downsample=image.downsample,
        mpp=image.measured_in,
        area=area,
        stains=image.stains,
    )
    tiles = plan_tiles(reader.width, reader.height, image.downsample, run.model, area, run.options.tile)
    return task, tiles


def _segment(run: Run, task: SlideTask, tiles: list[Tile], checkpoint: Checkpoint) -> SlideNuclei:
    if run.client is None:
        return segment_slide(task, tiles, checkpoint, run.reporter)
    from .workers import segment_slide_distributed

    return segment_slide_distributed(run.client, task, tiles, checkpoint, run.reporter)


def _grow_cells(run: Run, image: Prepared, task: SlideTask, nuclei: Nuclei, micrometres: float) -> Nuclei:
    """Nuclei with cells and their measurements; all at once, as a cell ends where its neighbours begin."""
    size = (image.reader.width, image.reader.height)
    mpp = (image.calibration.mpp_x or 1.0, image.calibration.mpp_y or 1.0)
    limits = _cell_limits(run, image.entry, nuclei)
    cells = cell_outlines(nuclei.polygons, micrometres, mpp, size, limits)
    first = stain_comes_first(run.project.version)
    measured = measure_cells(image.reader, nuclei.polygons, cells, task.measure_options, first)
    return replace(nuclei, cells=cells, measurements=measured)


def _cell_limits(run: Run, entry: ImageEntry, nuclei: Nuclei) -> NDArray[np.object_] | None:
    """(n,) the annotation of ``--within`` that each nucleus is in, which its cell must not leave."""
    if run.options.within is None:
        return None
    annotations = run.project.annotations(entry)
    shape_of = {a.id: shapely.make_valid(a.geometry) for a in annotations}
    parents = parents_of(nuclei, annotations, run.options.within)
    return np.array([shape_of.get(parent) for parent in parents], dtype=object)


def _finish(run: Run, checkpoint: Checkpoint, written: WrittenDetections, reason: str, device: str) -> None:
    checkpoint.finish(
        {
            "count": written.count,
            "place": str(written.file),
            "how": written.note,
            "reason": reason,
            "writing": _writing(run),
            "device": device,
        }
    )


def _earlier(run: Run, entry: ImageEntry, checkpoint: Checkpoint) -> ImageResult | None:
    """The result of an earlier run that wrote the same nuclei in the same way, if they are still there."""
    done = checkpoint.done
    if done is None or done.get("writing") != _writing(run) or not Path(done["place"]).exists():
        return None
    written = WrittenDetections(done["count"], Path(done["place"]), done["how"])
    return ImageResult(
        entry.id, entry.name, "done", written.count, done["reason"], written=written, device=done["device"]
    )


def _writing(run: Run) -> dict[str, Any]:
    return {**asdict(run.writing), "cells": run.options.cells}
