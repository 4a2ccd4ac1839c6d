"""Nuclei that were edited in QuPath, when a script runs again: nothing is undone or lost."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path

import pytest

from cellgennet_qupath.nuclei import Nuclei
from cellgennet_qupath.qupath.formats.detections import read_detections
from cellgennet_qupath.qupath.open import open_project
from cellgennet_qupath.qupath.replaced import kept_detections
from cellgennet_qupath.segmentation.batch import segment_project
from cellgennet_qupath.segmentation.options import SegmentOptions
from cellgennet_qupath.segmentation.present import present_nuclei
from cellgennet_qupath.segmentation.record import read_record
from tests.qupath.batches import batch, batches
from tests.qupath.in_qupath import InQuPath, executable
from tests.segmentation.fakes import model

pytestmark = pytest.mark.qupath
SLIDE = "slide2_inflamed.ome.tif"
SEGMENT = "cellgennet_segment_project.groovy"

EDIT = """
def edit = { Closure change ->
    def project = qupath.lib.projects.ProjectIO.loadProject(new File(PROJECT), java.awt.image.BufferedImage)
    def entry = project.getImageList().find { it.getImageName() == SLIDE }
    def data = entry.readImageData()
    def hierarchy = data.getHierarchy()
    change(hierarchy, hierarchy.getDetectionObjects().sort { it.getID() })
    def nuclei = hierarchy.getDetectionObjects()
    def big = nuclei.count { it.getPathClass().toString() == "Tumor: Big" }
    println "NOW " + nuclei.size() + " " + big + " " +
        nuclei.count { it.getName() == "checked" } + " " + hierarchy.getAnnotationObjects().size()
    if (data.isChanged())
        entry.saveImageData(data)
    data.getServer().close()
}
def look = { edit { hierarchy, nuclei -> } }
def correct = { edit { hierarchy, nuclei ->
    hierarchy.removeObjects(nuclei[0..9], true)
    nuclei[10..19].each { it.setPathClass(qupath.lib.objects.classes.PathClass.fromString("Tumor: Big")) }
    nuclei[20].setName("checked")
    hierarchy.fireHierarchyChangedEvent(this)
} }
"""


@pytest.fixture
def window(sample_project: Path, tmp_path: Path) -> InQuPath:
    program = executable()
    if program is None:
        pytest.skip("no QuPath that paquo can find (set PAQUO_QUPATH_DIR)")
    if os.name == "nt":
        pytest.skip("the tool of these tests is a shell script")
    window = InQuPath(program, tmp_path, sample_project)
    tool = tmp_path / "too l.sh"
    tool.write_text(
        f"#!/bin/sh\nexec '{sys.executable}' -m tests.qupath.colour_tool \"$@\"\n", encoding="utf-8"
    )
    tool.chmod(0o755)
    (window.home / "qupath.properties").write_text(f"python={tool}\n", encoding="utf-8")
    return window


def run(window: InQuPath, *parts: str) -> tuple[str, list[list[int]]]:
    """What QuPath says, and what each look at the image shows: nuclei, of the class, named, annotations."""
    names = f"PROJECT = {json.dumps(str(window.project / 'project.qpproj'))}\nSLIDE = {json.dumps(SLIDE)}\n"
    said = window.run_alone(names + EDIT + batches(*parts))
    return said, [[int(n) for n in line.split()] for line in re.findall(r"NOW ([\d ]+)", said)]


def test_a_script_that_runs_again_keeps_what_was_edited(window: InQuPath) -> None:
    segment = batch(window.project, [SLIDE], window.scripts / SEGMENT)
    other = batch(window.project, [SLIDE], window.scripts / SEGMENT, "moreOptions=--min-area;9")
    said, seen = run(window, segment, "look()\n", "correct()\n", segment, "look()\n", other, "look()\n")
    (every, *_, drawn), corrected, again, replaced = seen
    assert every > 100, said
    assert corrected == [every - 10, 10, 1, drawn]
    assert again == corrected, said
    assert f"its nuclei were edited since ({every - 10} now, {every} written) and are kept" in said
    assert 0 < replaced[0] < every
    assert replaced[1:] == [0, 0, drawn]
    (kept,) = copies(window)
    assert (len(kept), list(kept.classes).count("Tumor: Big")) == (every - 10, 10)


def copies(window: InQuPath) -> list[Nuclei]:
    """The detections that were replaced, of each run."""
    with open_project(window.project, "files") as project:
        entry = next(entry for entry in project.entries if entry.name == SLIDE)
        return [read_detections(file) for file in kept_detections(project, entry)]


def test_nuclei_kept_beside_new_ones_are_those_in_qupath(window: InQuPath) -> None:
    """Segmenting elsewhere does not bring back what was deleted."""
    script = window.scripts / SEGMENT
    everywhere = batch(window.project, [SLIDE], script)
    beside = batch(window.project, [SLIDE], script, "existing=keep", "within=Training")
    said, seen = run(window, everywhere, "look()\n", CLEAR, beside, "look()\n", beside, "look()\n")
    before, cleared, added, again = (one[0] for one in seen)
    assert 0 < cleared < before, said
    assert cleared <= added < before, said
    assert again == added
    assert "edited" not in said.split(f"NOW {added} ")[1]


def test_after_keep_nuclei_are_edited_when_a_user_edited_them(window: InQuPath) -> None:
    """Not because it was saved, also where the command wrote the first of them into QuPath's own data."""
    script = window.scripts / SEGMENT
    with open_project(window.project, "qupath", writable=True, older_qupath=True) as project:
        chosen = SegmentOptions(images=(SLIDE,), within="Training")
        (first,) = segment_project(project, model(), chosen)
    beside = batch(window.project, [SLIDE], script, "existing=keep")
    parts = ["look()\n", beside, "look()\n", SAVE, beside, "look()\n", "correct()\n", beside, "look()\n"]
    said, seen = run(window, *parts)
    before, added, _, again, corrected, last = (one[0] for one in seen)
    assert 0 < first.count == before < added == again, said
    kept, unchanged, *_ = said.split("END OF BATCH")
    assert "edited" not in kept + unchanged, said
    assert corrected == last == added - 10
    assert f"its nuclei were edited since ({added - 10} now, {added} written) and are kept" in said
    with open_project(window.project, "qupath") as project:
        entry = next(entry for entry in project.entries if entry.name == SLIDE)
        record = read_record(project, entry)
        assert record is not None
        assert record.count == added
        assert record.covered == "", "the whole image"
        assert present_nuclei(project, entry, record).state == "other"


SAVE = """edit { hierarchy, nuclei ->
    def plane = qupath.lib.regions.ImagePlane.getDefaultPlane()
    def roi = qupath.lib.roi.ROIs.createRectangleROI(1, 1, 9, 9, plane)
    hierarchy.addObject(qupath.lib.objects.PathObjects.createAnnotationObject(roi))
}
"""

CLEAR = """edit { hierarchy, nuclei ->
    def annotations = hierarchy.getAnnotationObjects()
    def training = annotations.find { it.getPathClass()?.toString() == "Training" }.getROI()
    hierarchy.removeObjects(nuclei.findAll { n ->
        n.getROI().getCentroidX() > training.getBoundsX() + training.getBoundsWidth() + 20
    }, true)
}
"""


OPEN = """
import qupath.lib.objects.PathObjects
import qupath.lib.objects.classes.PathClass
import qupath.lib.regions.ImagePlane
import qupath.lib.roi.ROIs
def home = new File(System.getenv("CELLGENNET_HOME"))
def loader = new GroovyClassLoader(getClass().getClassLoader())
def cellgennet = loader.parseClass(new File(home, "library.groovy"))
    .getConstructor(File, Script).newInstance(home, this)
def segment = { cellgennet.segmentImage([existing: "replace-own", moreOptions: []]) }
def train = { cellgennet.train([model: "model.cgn", config: "", resume: false, moreOptions: []]) }
def hierarchy = getCurrentHierarchy()
"""


def test_training_sees_the_nuclei_of_corrected_regions_as_they_are(window: InQuPath) -> None:
    """Deleted and not yet saved; then saved."""
    correct = """
        def roi = ROIs.createRectangleROI(500, 500, 400, 400, ImagePlane.getDefaultPlane())
        def drawn = getAnnotationObjects().collect { it.getROI() }
        def region = PathObjects.createAnnotationObject(roi, PathClass.fromString("Corrected"))
        addObject(region)
        segment()
        train()
        def wrong = getDetectionObjects().findAll { one ->
            def x = one.getROI().getCentroidX()
            def y = one.getROI().getCentroidY()
            roi.contains(x - 15, y - 15) && roi.contains(x + 15, y + 15) && !drawn.any { it.contains(x, y) }
        }
        println "WRONG " + wrong.size()
        def gone = wrong[0..2]
        removeObjects(gone, true)
        train()
        getProjectEntry().saveImageData(getCurrentImageData())
        train()
    """
    before = batch(window.project, [SLIDE], window.scripts / SEGMENT)
    window.run_alone(batches(before))
    said = window.run(OPEN + correct, image=SLIDE)
    seen = [int(n) for n in re.findall(r"SEEN 2 (\d+)", said)]
    assert len(seen) == 3, said
    assert seen[1:] == [seen[0] - 3] * 2, said


def test_cores_and_stains_that_are_not_saved(window: InQuPath) -> None:
    """Nuclei are in the cores on the screen; stains are read from the saved image, and the script says so."""
    dearray = """
        import qupath.lib.objects.hierarchy.DefaultTMAGrid
        def cores = [0, 1].collect { PathObjects.createTMACoreObject(250 + 500 * it, 500, 400, false) }
        hierarchy.setTMAGrid(DefaultTMAGrid.create(cores, 2))
        segment()
        setColorDeconvolutionStains('{"Name": "H&E", "Stain 1": "Hematoxylin", "Values 1": "0.6 0.7 0.3", ' +
            '"Stain 2": "Eosin", "Values 2": "0.1 0.9 0.4", "Background": "250 250 250"}')
        println "CORES " + cores.collect { it.nChildObjects() }
        println "SECOND"
        segment()
        println "CORES " + cores.collect { it.nChildObjects() }
    """
    said = window.run(OPEN + dearray, image=SLIDE)
    first, second = re.findall(r"CORES \[(\d+), (\d+)\]", said)
    assert int(first[0]) > 10, said
    assert first == second
    before, after = said.split("SECOND")
    assert "the image type or the stains" not in before
    assert "the image type or the stains of" in after


def test_detections_that_the_tool_cannot_read_are_copied_before_they_go(window: InQuPath) -> None:
    """Of other tools, and nuclei that were not imported by a script."""
    replace = """
        def box = { x, y, w, h -> ROIs.createRectangleROI(x, y, w, h, ImagePlane.getDefaultPlane()) }
        def parent = PathObjects.createAnnotationObject(box(0, 0, 90, 90))
        def other = PathObjects.createDetectionObject(box(10, 20, 30, 40), PathClass.fromString("Öther"))
        def measured = other.getMeasurementList()
        measured.put("A", 2.5d)
        measured.close()
        def cell = PathObjects.createCellObject(box(40, 20, 30, 40), box(45, 25, 9, 9))
        cell.setID(UUID.fromString("ce119e00-0000-8000-8000-000000000001"))
        def tile = PathObjects.createTileObject(box(60, 60, 20, 20))
        def dot = ROIs.createPointsROI(70, 70, ImagePlane.getDefaultPlane())
        def point = PathObjects.createDetectionObject(dot)
        parent.addChildObjects([other, cell, tile, point])
        addObject(parent)
        cellgennet.segmentImage([existing: "replace-all", moreOptions: []])
        println "LEFT " + [[other, cell], [tile, point]]*.count { getDetectionObjects().contains(it) }
    """
    said = window.run(OPEN + replace, image=SLIDE)
    # What cannot be copied stays.
    assert "LEFT [0, 2]" in said, said
    # The script gave the nucleus to the tool, which copied it; its own copy has both.
    own, kept = copies(window)
    assert list(own.ids) == ["ce119e00-0000-8000-8000-000000000001"]
    assert list(kept.classes) == ["Öther", ""]
    assert kept.cells is not None
    assert [cell is None for cell in kept.cells] == [True, False]
    assert kept.polygons[1].area == 81
    assert kept.measurements["A"].iloc[0] == 2.5
