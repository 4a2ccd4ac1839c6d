"""One image of a project in four steps: prepare, segment, grow cells, write."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from .. import __version__
from ..geometry.grid import Tile
from ..geometry.solid import solid
from ..measure.cells import cell_outlines
from ..measure.compartments import measure_cells, stain_comes_first
from ..nuclei import Nuclei, NucleiChunks, empty
from ..qupath.files import FilesBackend
from ..qupath.images import open_image
from ..qupath.origin import origin_of
from ..qupath.parents import NEAR, parents_of
from ..qupath.project import ImageEntry, WrittenDetections
from ..qupath.repeats import remark
from ..qupath.replaced import keep_detections
from ..slides.judgement import judge_slide
from ..slides.normalisation import estimate
from ..slides.tissue import tissue_mask
from .adjust import rule_of
from .assemble import SlideNuclei
from .blocks import fitting_block
from .checkpoint import Checkpoint
from .covered import covered_area, covered_text
from .grown import GrownNuclei
from .plan import Area, plan_tiles, union_of
from .prepare import Prepared, Run, prepare, warn_if_coarse
from .present import (
    DONE,
    THERE,
    Digesting,
    Present,
    nuclei_digest,
    others_digest,
    present_nuclei,
    warnings,
)
from .record import (
    BESIDE,
    IGNORE,
    MEASURED_BESIDE,
    MEASURED_IN,
    Record,
    file_checksum,
    measured_in,
    models_beside,
    place_of,
    read_record,
    same_size,
    write_record,
)
from .result import ImageResult, why_nothing
from .slide import segment_slide
from .task import SlideTask


def segment_image(run: Run, entry: ImageEntry) -> ImageResult:
    """Segment one image and write its nuclei into the project.

    Raises SlideError, CalibrationError and EntryDataError, which name the image and the reason.
    """
    begin = time.monotonic()
    annotations = run.project.annotations(entry)
    within, wanted = None, run.options.inside
    if wanted:
        within = union_of(wanted.objects(annotations, run.project.cores(entry)))
        if within is None:
            reason = f"no {wanted}"
            return ImageResult(entry.id, entry.name, "skipped", reason=reason)
    doubles = 0 if run.options.existing == "replace-all" else run.project.counts(entry).repeated
    if doubles:
        run.reporter.warn(remark(doubles, entry.name))
    if run.options.existing == "keep" and isinstance(run.project, FilesBackend):
        run.project.refuse_hidden(entry)
    with open_image(entry) as reader:
        image = prepare(run, entry, reader, within, annotations)
        record = read_record(run.project, entry)
        present = None if record is None else present_nuclei(run.project, entry, record)
        if record is not None and present is not None:
            same = record.current and record.inputs == _inputs(run, image) and present.state in DONE
            if same and not _others_came(run, entry, record, present):
                return _earlier(run, entry, record, present)
            for line in warnings(run.project, entry, record, present, run.options.existing):
                run.reporter.warn(line)
        elif record is None and (run.folder / entry.id / _DONE_BEFORE).is_file():
            run.reporter.say(
                f"{entry.name}: an earlier version of this package segmented it without recording what its "
                "nuclei were made from, so it is segmented again."
            )
        checkpoint = Checkpoint(run.folder / entry.id, image.fingerprint)
        if checkpoint.damaged:
            run.reporter.warn(
                f"{entry.name}: {checkpoint.damaged} tiles of an earlier run were damaged on the disk; "
                "they are segmented again."
            )
        warn_if_coarse(run, image)
        task, tiles, findings = _plan(run, image)
        slide = _segment(run, task, tiles, checkpoint)
        nuclei: NucleiChunks = slide
        if run.options.cells is not None:
            nuclei = _grow_cells(run, image, task, slide, run.options.cells)
        reason = "" if len(slide) else why_nothing(task, slide, bool(tiles), image.calibration.mpp)
        notes = filter(None, [_keep_replaced(run, entry, present), _staying_note(image)])
        digesting = Digesting(nuclei, image.staying)
        writing = replace(run.writing, checked=image.checked)
        # The slide is open until here: cells are measured as they are written.
        written = run.project.write_detections(entry, digesting, writing)
    result = ImageResult(
        id=entry.id,
        name=entry.name,
        status="done",
        count=written.count,
        reason=reason,
        seconds=time.monotonic() - begin,
        written=written,
        device=slide.device,
        note="; ".join(notes),
        findings=tuple(findings),
    )
    area = _covered(run, image, record if present is not None and present.state in THERE else None)
    result = replace(result, mm2=None if area is None else image.mm2_of(area))
    covered = covered_text(image.area if area is None else area, image.size, bool(run.options.inside))
    digest = digesting.digest(written.count) if run.options.existing != "keep" else ""
    digest = digest or nuclei_digest(run.project, entry)
    made = _record(run, image, result, written, digest, covered)
    if run.options.existing == "keep":
        made = _beside(made, record, present, unknown=record is None and written.count > len(digesting))
    elif run.options.existing == "replace-all" and image.checked is not None:
        made = replace(made, others=others_digest(run.project, entry))
    if record is not None and (run.options.existing == "keep" or image.staying is None or len(image.staying)):
        made = _measured_beside(made, record, present)
    write_record(run.project, entry, made)
    checkpoint.finish()
    return result


_DONE_BEFORE = "done.json"
"""Mark of a finished image, left by versions without records."""


def _inputs(run: Run, image: Prepared) -> dict[str, Any]:
    """Everything that decides an image's nuclei and how they are written, as plain data."""
    # The checked area is part of the image.
    writing = {name: value for name, value in asdict(run.writing).items() if name != "checked"}
    inputs = {
        "version": __version__,
        "backend": run.project.backend,
        "model": run.model.fingerprint,
        "device": run.model.predictor.device,
        "image": image.fingerprint,
        "writing": writing,
        "cells": run.options.cells,
    }
    plain: dict[str, Any] = json.loads(json.dumps(inputs))
    return plain


def _covered(run: Run, image: Prepared, earlier: Record | None) -> shapely.Geometry | None:
    """Where the nuclei that an image has now were looked for; those of earlier runs may have been kept.

    None if that is not known of these.
    """
    if run.options.existing != "keep" or earlier is None:
        return image.area
    objects = [*run.project.annotations(image.entry), *run.project.cores(image.entry)]
    before = covered_area(earlier, image.size, objects)
    return None if before is None else shapely.union(image.area, before)


def _record(
    run: Run, image: Prepared, result: ImageResult, written: WrittenDetections, digest: str, covered: str
) -> Record:
    model = run.model
    return Record(
        origin=origin_of(image.entry),
        inputs=_inputs(run, image),
        model={
            "name": run.model_name,
            "checksum": model.fingerprint,
            "mpp": model.mpp,
            "rule": rule_of(model),
            "learnt_from": model.learnt_from,
            IGNORE: run.classes.ignore,
            MEASURED_IN: None if image.measured_in is None else list(image.measured_in),
        },
        within=run.options.within,
        inside=_inside(run, image.entry),
        count=written.count,
        file=place_of(run.project, written.file),
        note=written.note,
        reason=result.reason,
        device=result.device,
        checksum=file_checksum(written.file),
        nuclei=digest,
        mm2=result.mm2,
        covered=covered,
    )


def _beside(made: Record, record: Record | None, present: Present | None, unknown: bool) -> Record:
    """The record of a run that kept nuclei, with the models of these.

    unknown : whether nuclei of a run without a record were kept.
    """
    earlier: list[Mapping[str, Any]] = [{}] if unknown else []
    if record is not None and present is not None and present.state in THERE and present.count:
        earlier = models_beside(made.model, record.model)
    return replace(made, model=made.model | {BESIDE: earlier}) if earlier else made


def _measured_beside(made: Record, record: Record, present: Present | None) -> Record:
    """The record of a run that left nuclei, with the sizes of pixels in which these were measured."""
    if present is None or present.state not in THERE or not present.count:
        return made
    own = measured_in(made)
    others = [size for size in measured_in(record) if not any(same_size(size, one) for one in own)]
    return replace(made, model=made.model | {MEASURED_BESIDE: list(map(list, others))}) if others else made


def _earlier(run: Run, entry: ImageEntry, record: Record, present: Present) -> ImageResult:
    """The result of an earlier run that made the same nuclei from the same inputs; they are still there."""
    note = ""
    if present.state == "edited":
        note = (
            f"its nuclei were edited since ({present.count} now, {record.count} written) and are kept; "
            "--restart segments it again"
        )
    elif present.state == "restored":
        note = f"its {present.count} restored nuclei are kept; --restart segments it again"
    if note:
        run.reporter.warn(f"{entry.name}: {note}.")
    return ImageResult(
        id=entry.id,
        name=entry.name,
        status="done",
        count=present.count,
        reason=record.reason,
        written=WrittenDetections(present.count, record.path(run.project), record.note),
        device=record.device,
        note=note or "unchanged",
        mm2=record.mm2,
    )


def _others_came(run: Run, entry: ImageEntry, record: Record, present: Present) -> bool:
    """Whether other tools wrote detections since the last run, which are to be removed; says so."""
    if run.options.existing != "replace-all" or not present.saved:
        return False
    others = others_digest(run.project, entry)
    if others in ("", record.others):
        return False
    run.reporter.warn(
        f"{entry.name}: other tools wrote detections since it was segmented, which --existing replace-all "
        "removes, so it is segmented again."
    )
    return True


def _keep_replaced(run: Run, entry: ImageEntry, present: Present | None) -> str:
    """Keep a copy of the detections that are about to be replaced; returns a note about it."""
    if run.options.existing == "keep":
        return ""
    kept = keep_detections(run.project, entry, every=run.options.existing == "replace-all")
    if kept is None:
        return ""
    edited = "edited " if present is not None and present.state == "edited" else ""
    return f"the {edited}detections it replaced are kept in {kept}"


def _staying_note(image: Prepared) -> str:
    """A note about nuclei that stay because a user has checked them."""
    staying = 0 if image.staying is None else len(image.staying)
    return f"{staying} of them were there before, in Corrected regions" if staying else ""


def _plan(run: Run, image: Prepared) -> tuple[SlideTask, list[Tile], list[str]]:
    """All that decides which nuclei are on the slide, the tiles to segment, and what is odd about it."""
    reader = image.reader
    image_type = run.project.image_type(image.entry)
    judgement = judge_slide(reader, image.calibration.mpp, image_type, image.entry.channels, run.model.stain)
    for sentence in judgement.sentences:
        run.reporter.warn(f"{image.entry.name}: {sentence}")
    tissue = tissue_mask(reader, image.calibration.mpp)
    normalisation = estimate(reader, image.downsample, run.model.normalisation, tissue)
    area = Area(tissue, image.within, image.left_out)
    task = SlideTask(
        pixels=reader,
        model=run.model,
        normalisation=normalisation,
        downsample=image.downsample,
        mpp=image.measured_in,
        area=area,
        stains=image.stains,
    )
    block = fitting_block(task)
    if block != task.model.block:
        task = replace(task, model=replace(task.model, block=block))
    # Tiles that are much larger than blocks would be decoded for the little that is wanted of them.
    tile = run.options.tile if block == run.model.block else min(run.options.tile, block)
    tiles = plan_tiles(reader.width, reader.height, image.downsample, run.model, area, tile)
    return task, tiles, judgement.sentences


def _segment(run: Run, task: SlideTask, tiles: list[Tile], checkpoint: Checkpoint) -> SlideNuclei:
    if run.client is None:
        return segment_slide(task, tiles, checkpoint, run.reporter)
    from .workers import segment_slide_distributed

    return segment_slide_distributed(run.client, task, tiles, checkpoint, run.reporter)


def _grow_cells(
    run: Run, image: Prepared, task: SlideTask, slide: SlideNuclei, micrometres: float
) -> NucleiChunks:
    """Nuclei with cells and their measurements, while the slide is open.

    Nuclei that stay, and their cells, are neighbours like those found now.
    """
    size = (image.reader.width, image.reader.height)
    mpp = (image.calibration.mpp_x or 1.0, image.calibration.mpp_y or 1.0)
    limits = _cell_limits(run, image.entry)
    first = stain_comes_first(run.project.version)
    staying = empty() if image.staying is None else image.staying
    shapes = (
        staying.polygons
        if staying.cells is None
        else np.where(shapely.is_missing(staying.cells), staying.polygons, staying.cells)
    )
    places, reach = shapely.STRtree(shapes), 2 * micrometres / min(mpp)

    def grow(nuclei: Nuclei, rows: NDArray[np.intp]) -> Nuclei:
        x0, y0, x1, y1 = shapely.total_bounds(nuclei.polygons)
        near = places.query(shapely.box(x0 - reach, y0 - reach, x1 + reach, y1 + reach))
        inside = None if limits is None else np.concatenate([limits(nuclei), np.full(len(near), None)])
        together = np.concatenate([nuclei.polygons, staying.polygons[near]])
        cells = cell_outlines(together, micrometres, mpp, size, inside, shapes[near])[rows]
        own = nuclei.take(rows)
        measured = measure_cells(image.reader, own.polygons, cells, task.measure_options, first)
        return replace(own, cells=cells, measurements=measured)

    # No nucleus is higher than the rule allows; an outline may end one sample beyond.
    highest = (task.model.rule.max_extent + 2) * task.step
    return GrownNuclei(slide, highest + 2 * micrometres / mpp[1] + 1, grow)


def _inside(run: Run, entry: ImageEntry) -> list[str]:
    """The ids of the annotations and cores that were named one by one."""
    named = replace(run.options.inside, path_class=None)
    if not named:
        return []
    return [one.id for one in named.objects(run.project.annotations(entry), run.project.cores(entry))]


def _cell_limits(run: Run, entry: ImageEntry) -> Callable[[Nuclei], NDArray[np.object_]] | None:
    """A function that finds the wanted annotation or core of each nucleus, which its cell must not leave.

    None where the whole image is wanted.
    """
    wanted = run.options.inside
    if not wanted:
        return None
    objects = wanted.objects(run.project.annotations(entry), run.project.cores(entry))
    shape_of = {one.id: solid([one.geometry])[0] for one in objects}

    def limits(nuclei: Nuclei) -> NDArray[np.object_]:
        parents = parents_of(nuclei, objects, near=NEAR)
        return np.array([*(shape_of.get(parent) for parent in parents), None], dtype=object)[:-1]

    return limits
