"""Both backends leave the detections alone that a user has checked, whatever is replaced around them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import shapely

from cellgennet_qupath.nuclei import Nuclei, concat
from cellgennet_qupath.qupath.checked import in_area
from cellgennet_qupath.qupath.open import Backend, open_project
from cellgennet_qupath.qupath.project import (
    ROOT,
    ExistingPolicy,
    ImageEntry,
    Project,
    Within,
    WriteOptions,
)
from tests.qupath.backends import assert_equal, needs_qupath, nuclei, with_cells
from tests.qupath.in_qupath import InQuPath, executable, image_names

CHECKED = shapely.box(0, 0, 100, 100)


@pytest.fixture(params=["files", pytest.param("qupath", marks=pytest.mark.qupath)])
def backend(request: pytest.FixtureRequest) -> Backend:
    if request.param == "qupath":
        needs_qupath()
        return "qupath"
    return "files"


def new_ones() -> Nuclei:
    """Of another run: none of them in the region, one with the outline of an earlier nucleus beside it."""
    outlines = [shapely.Point(110 + 13 * k, 60).buffer(5) for k in range(6)]
    return concat([Nuclei.from_polygons(outlines, np.full(6, 0.75)), nuclei().take(np.array([5]))])


@pytest.mark.parametrize("existing", ["replace-own", "replace-all"])
@pytest.mark.parametrize("cells", [False, True])
def test_what_is_in_a_checked_area_stays(
    backend: Backend, project: Path, existing: ExistingPolicy, cells: bool
) -> None:
    earlier = with_cells(nuclei()) if cells else nuclei()
    staying = earlier.take(in_area(earlier, CHECKED))
    assert 0 < len(staying) < len(earlier)
    with open_project(project, backend, writable=True, older_qupath=True) as opened:
        one = opened.entries[0]
        annotations, others = opened.annotations(one), opened.counts(one).detections
        opened.write_detections(one, earlier)
        written = opened.write_detections(one, new_ones(), WriteOptions(existing, checked=CHECKED))
        found = opened.detections(one)
        assert opened.annotations(one) == annotations
        assert written.count == len(found) == len(staying) + len(new_ones())
        inside = np.isin(found.ids.astype(str), staying.ids.astype(str))
        kept = found.take(inside)
        assert_equal(kept.take(np.arange(len(kept))), _as_wide(staying, kept))
        assert set(found.take(~inside).ids) == set(new_ones().ids)
        if backend == "qupath":
            # The detection that another tool made is at (5, 5), in the area.
            assert others > 0
            gone = 0 if existing == "replace-own" else _outside(project)
            assert opened.counts(one).detections == len(found) + others - gone


def test_what_stays_keeps_its_parent(project: Path) -> None:
    """Without QuPath; in QuPath it stays where it is in the hierarchy."""
    with open_project(project, "files", writable=True) as opened:
        one = opened.entries[0]
        within = Within(ids=tuple(a.id for a in opened.annotations(one) if a.path_class == "Training"))
        opened.write_detections(one, nuclei(), WriteOptions(within=within))
        before = _parents(opened, one)
        assert set(before.values()) > {ROOT}
        opened.write_detections(one, new_ones(), WriteOptions("replace-own", checked=CHECKED))
        after = _parents(opened, one)
        checked = opened.checked_detections(one, CHECKED).ids.astype(str)
        assert {before[identifier] for identifier in checked} > {ROOT}
        assert all(before[identifier] == after[identifier] for identifier in checked)
        assert {after[identifier] for identifier in {*after} - {*checked}} == {ROOT}


def _parents(opened: Project, one: ImageEntry) -> dict[str, str]:
    chunks = list(opened.detection_chunks(one))
    return {str(i): str(p) for c in chunks for i, p in zip(c.nuclei.ids, c.parents, strict=True)}


def _as_wide(staying: Nuclei, found: Nuclei) -> Nuclei:
    """The nuclei with the columns that the file has for all, empty where they have none."""
    missing = [name for name in found.measurements if name not in staying.measurements]
    return staying.with_measurements(staying.measurements.reindex(columns=missing)) if missing else staying


def _outside(project: Path) -> int:
    """How many detections of other tools are outside the area, in the project as it came."""
    with open_project(project, "qupath") as opened:
        chunks = [chunk.nuclei for chunk in opened.detection_chunks(opened.entries[0])]
    foreign = [c.take(np.array([not i.startswith("ce119e00-") for i in c.ids], bool)) for c in chunks]
    return sum(int((~in_area(one, CHECKED)).sum()) for one in foreign)


@pytest.mark.qupath
def test_the_import_script_leaves_checked_regions_alone(sample_project: Path, tmp_path: Path) -> None:
    """The user deleted one nucleus of the region and redrew another; the file holds both."""
    program = executable()
    if program is None:
        pytest.skip("no QuPath that paquo can find (set PAQUO_QUPATH_DIR)")
    qupath = InQuPath(program, tmp_path, sample_project)
    with open_project(qupath.project, "files", writable=True) as files:
        first = nuclei()
        files.write_detections(files.entries[2], first)
    drawn = """
        import qupath.lib.objects.PathObjects
        import qupath.lib.objects.classes.PathClass
        import qupath.lib.roi.ROIs
        import qupath.lib.regions.ImagePlane
        clearAllObjects()
        def roi = ROIs.createRectangleROI(0, 0, 100, 100, ImagePlane.getDefaultPlane())
        def region = PathObjects.createAnnotationObject(roi, PathClass.fromString("Corrected"))
    """
    script = (qupath.scripts / "cellgennet_import_detections.groovy").read_text(encoding="utf-8").splitlines()
    edited = """
        def isInside = { r -> roi.contains(r.getCentroidX(), r.getCentroidY()) }
        def inside = getDetectionObjects().findAll { isInside(it.getROI()) }
        removeObjects(inside[0..0], true)
        def redrawn = ROIs.createEllipseROI(40, 40, 12, 12, ImagePlane.getDefaultPlane())
        removeObjects(inside[1..1], true)
        addObjects([region, PathObjects.createDetectionObject(redrawn)])
        def ids = { getDetectionObjects().collect { it.getID().toString() } as Set }
        def before = ids()
    """
    told = 'println "SAME " + (ids() == before) + " " + inside.size() + " " + before.size()'
    every = script[-1].replace("existing: existing", 'existing: "replace-all"')
    text = "\n".join([drawn, *script, edited, script[-1], told, every, told])
    said = qupath.run(text, image=image_names(qupath.project)[2])
    inside = int(in_area(first, CHECKED).sum())
    assert said.count(f"SAME true {inside} {len(first) - 1}") == 2, said
    assert f"{inside - 2} nuclei in Corrected regions" in said
