"""The numbers that segment, the summary and QuPath's own table give for one image are equal."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely

from cellgennet_qupath.core.config import ClassNames
from cellgennet_qupath.qupath.java import jvm
from cellgennet_qupath.qupath.java import objects as javaobjects
from cellgennet_qupath.qupath.open import open_project
from cellgennet_qupath.qupath.project import ImageEntry, Project
from cellgennet_qupath.segmentation.batch import segment_project
from cellgennet_qupath.segmentation.options import SegmentOptions
from cellgennet_qupath.segmentation.result import ImageResult
from cellgennet_qupath.tables.project import export_project
from tests.projects import annotate, feature
from tests.qupath.backends import needs_qupath
from tests.segmentation.fakes import model

on_both = pytest.mark.parametrize("copied", ["0.5", "0.7"], indirect=True)
OVERLAPPING = "1"
"""The image in which a script draws annotations over each other."""


def drawn_by_a_script(count: int = 50) -> list[shapely.Geometry]:
    """Rectangles, ellipses, stars and rings of all sizes, at random places of an image of 1024 x 1024."""
    rng = np.random.default_rng(3)
    shapes = []
    for row in range(count):
        x, y, size, angle = *rng.uniform(100, 900, 2), rng.uniform(30, 300), rng.uniform(0, 2)
        turns = np.linspace(0, 2 * np.pi, 22, endpoint=False)
        radii = size * np.where(np.arange(22) % 2, 0.4, 1.0)
        around = np.column_stack([np.cos(turns + angle), np.sin(turns + angle)])
        star = shapely.Polygon((x, y) + radii[:, None] * around)
        ring = shapely.difference(shapely.Point(x, y).buffer(size), shapely.Point(x, y).buffer(size / 2))
        kinds = [shapely.box(x, y, x + size, y + size / 2), shapely.Point(x, y).buffer(size), star, ring]
        shapes.append(shapely.transform(kinds[row % 4], lambda xy: np.round(xy, 2)))
    return shapes


def segmented(project: Project) -> dict[str, ImageResult]:
    """The results of annotated images by id, of a network that needs no weights."""
    ids = [entry.id for entry in project.entries if project.counts(entry).annotations]
    results = segment_project(project, model(), SegmentOptions(tile=512, image_ids=ids))
    assert {result.status for result in results} == {"done"}
    return {result.id: result for result in results}


def summary(project: Project, file: Path) -> list[dict[str, str]]:
    export_project(project, file, summary=True)
    with file.open(encoding="utf-8") as opened:
        return list(csv.DictReader(opened))


def numbers(rows: Sequence[dict[str, str]], entry: ImageEntry) -> dict[str, int]:
    """Num Detections of an image's rows by object id, "" for the image itself; no ignored areas."""
    return {
        row["Object ID"]: int(row["Num Detections"])
        for row in rows
        if row["Image"] == entry.name and row["Num Detections"]
    }


def by_place(project: Project, entry: ImageEntry, ids: Sequence[str]) -> dict[str, int]:
    """How many detections of an image have their centroid in each of its annotations, one by one."""
    nuclei = [shape for chunk in project.detection_chunks(entry) for shape in chunk.nuclei.polygons]
    points = [shape.centroid for shape in nuclei]
    shapes = {a.id: a.geometry for a in project.annotations(entry)}
    counts = {
        one: sum(bool(shapely.intersects(shapes[one], point)) for point in points) for one in ids if one
    }
    return {"": len(points), **counts}


@on_both
def test_without_qupath(copied: Path, shared: Path, tmp_path: Path) -> None:
    shapes = drawn_by_a_script()
    annotate(copied, int(OVERLAPPING), [feature(shape, f"Region {row}") for row, shape in enumerate(shapes)])
    with open_project(copied, "files", shared / "qupath" / "slides", writable=True) as project:
        results = segmented(project)
        rows = summary(project, tmp_path / "s.csv")
        for entry in (one for one in project.entries if one.id in results):
            found = numbers(rows, entry)
            assert results[entry.id].count == found[""], entry.name
            assert found == by_place(project, entry, list(found)), entry.name
            if entry.id == OVERLAPPING:
                assert len(found) == 1 + len(shapes)
                inside = [number for one, number in found.items() if one]
                assert sum(inside) > found[""] > max(inside) > 0


def in_qupath(project: Any, entry: ImageEntry) -> dict[str, int]:
    """QuPath's own Num Detections: of the image (id "") and of its annotations, by id."""
    path = jvm.java_class("java.nio.file.Paths").get(str(project.path / "data" / entry.id / "data.qpdata"))
    server = javaobjects.placeholder_server(project._images[entry.id], entry)
    data = jvm.compiled("ObjectTransfer").read(path, server)
    hierarchy = data.getHierarchy()
    table = jvm.java_class("qupath.lib.gui.measure.ObservableMeasurementTableData")()
    objects = jvm.java_class("java.util.ArrayList")(hierarchy.getAnnotationObjects())
    objects.add(hierarchy.getRootObject())
    table.setImageData(data, objects)
    return {
        "" if one.isRootObject() else str(one.getID()): int(table.getNumericValue(one, "Num Detections"))
        for one in objects
    }


def add_to_qupath(project: Any, entry: ImageEntry, shapes: Sequence[shapely.Geometry]) -> None:
    """Draw annotations in QuPath, and save them."""
    path = jvm.java_class("java.nio.file.Paths").get(str(project.path / "data" / entry.id / "data.qpdata"))
    server = javaobjects.placeholder_server(project._images[entry.id], entry)
    transfer = jvm.compiled("ObjectTransfer")
    data = transfer.read(path, server)
    reader = jvm.java_class("org.locationtech.jts.io.WKBReader")()
    tools = jvm.java_class("qupath.lib.roi.GeometryTools")
    plane = jvm.java_class("qupath.lib.regions.ImagePlane").getDefaultPlane()
    objects, classes = (
        jvm.java_class(f"qupath.lib.objects.{name}") for name in ("PathObjects", "classes.PathClass")
    )
    for row, shape in enumerate(shapes):
        roi = tools.geometryToROI(reader.read(jvm.array("byte")(shapely.to_wkb(shape))), plane)
        data.getHierarchy().addObject(
            objects.createAnnotationObject(roi, classes.fromString(f"Region {row}"))
        )
    transfer.write(data, path)
    (project.path / "data" / entry.id / "summary.json").unlink()


@pytest.mark.qupath
@on_both
def test_with_qupath(copied: Path, shared: Path, tmp_path: Path) -> None:
    needs_qupath()
    slides = shared / "qupath" / "slides"
    how: dict[str, Any] = {"slides": slides, "writable": True, "older_qupath": True}
    with open_project(copied, "qupath", **how) as project:
        entry = next(one for one in project.entries if one.id == OVERLAPPING)
        add_to_qupath(project, entry, drawn_by_a_script())
        foreign = {one.id: project.counts(one).detections for one in project.entries}
        results = segmented(project)
        rows = summary(project, tmp_path / "s.csv")
        for one in (one for one in project.entries if one.id in results):
            theirs, ours = in_qupath(project, one), numbers(rows, one)
            # Nuclei of other tools stay, and QuPath counts them like ours.
            assert theirs[""] == results[one.id].count + foreign[one.id] == ours[""], one.name
            assert {key: theirs[key] for key in ours} == ours, one.name
            left_out = {a.id for a in project.annotations(one) if a.id not in ours}
            classes = {a.path_class for a in project.annotations(one) if a.id in left_out}
            assert all(name in ("", "Nucleus") or ClassNames().is_ignored(name) for name in classes)
            if one.id == OVERLAPPING:
                assert len([key for key in ours if key]) >= 50
        assert sum(foreign.values()) == 40
