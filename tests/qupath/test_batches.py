"""The scripts in real QuPath as users run them: for chosen images, one batch after another, and stopped."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cellgennet_qupath.qupath.open import open_project
from tests.qupath.batches import batch, batches
from tests.qupath.in_qupath import InQuPath, copy_project, executable

pytestmark = pytest.mark.qupath
SLIDES = ["slide1_glands.ome.tif", "slide2_inflamed.ome.tif", "slide3_nests.ome.tif", "slide4_mixed.ome.tif"]
SEGMENT, TRAIN = "cellgennet_segment_project.groovy", "cellgennet_train.groovy"


class Window(InQuPath):
    """QuPath with two projects, and a tool that needs no network."""

    def __init__(self, program: Path, folder: Path, sample: Path) -> None:
        super().__init__(program, folder, sample)
        self.other = folder / "other project"
        copy_project(sample, self.other)
        self.log = folder / "log.txt"
        tool = folder / "too l.sh"
        tool.write_text(
            f"#!/bin/sh\nexec '{sys.executable}' -m tests.qupath.fake_tool \"$@\"\n", encoding="utf-8"
        )
        tool.chmod(0o755)
        (self.home / "qupath.properties").write_text(f"python={tool}\n", encoding="utf-8")

    @property
    def environment(self) -> dict[str, str]:
        return {**super().environment, "FAKE_LOG": str(self.log), "FAKE_SECONDS": "1"}

    @property
    def asked(self) -> list[str]:
        """What the tool was asked for, in order; "start" for each time that it was started."""
        return [
            line.split()[0 if line.startswith("start") else 1] for line in self.log.read_text().splitlines()
        ]

    def counts(self, project: Path) -> list[int]:
        with open_project(project, "files") as files:
            return [files.counts(entry).detections for entry in files.entries]


@pytest.fixture
def window(sample_project: Path, tmp_path: Path) -> Iterator[Window]:
    program = executable()
    if program is None:
        pytest.skip("no QuPath that paquo can find (set PAQUO_QUPATH_DIR)")
    if os.name == "nt":
        pytest.skip("the tool of these tests is a shell script")
    yield Window(program, tmp_path, sample_project)


def test_batches_segment_the_chosen_images_alone_with_one_tool_each(window: Window) -> None:
    """Two of four; a second batch in the same window; a changed project; a first slide that is missing."""
    (window.other / "slides" / SLIDES[0]).unlink()
    script = window.scripts / SEGMENT
    said = window.run_alone(
        batches(
            batch(window.project, [SLIDES[1], SLIDES[3]], script),
            batch(window.project, [SLIDES[2]], script),
            batch(window.other, [SLIDES[0], SLIDES[2], SLIDES[3]], script),
            batch(window.other, [SLIDES[2]], script, "existing=replace-all"),
        )
    )
    # QuPath 0.7 runs scripts for an image whose slide is missing, too; 0.5 does not.
    asked = [word for word in window.asked if word != "1"]
    assert asked == ["start", "2", "4", "start", "3", "start", "3", "4", "start", "3"], said
    assert window.counts(window.project) == [0, 20, 30, 40], said
    assert window.counts(window.other)[1:] == [0, 30, 40]
    assert said.count("END OF BATCH") == 4


def test_a_stopped_batch_keeps_what_is_finished_and_starts_nothing_more(window: Window) -> None:
    """Also where the next image takes more than half a minute to open."""
    script = window.scripts / SEGMENT
    said = window.run_alone(
        batches(
            batch(window.project, SLIDES[:3], script, kill_at="[2] segmenting", pause=35),
            batch(window.project, SLIDES[:2], script),
        )
    )
    first, second = said.split("END OF BATCH")[:2]
    assert first.count("CellGenNet: stopped. To continue, run the script again.") == 1
    assert f"CellGenNet: stopped, so {SLIDES[2]} is left as it is." in first
    assert "Exception" not in first
    assert "\tat " not in first
    assert "20 nuclei in" in second, said
    assert window.asked == ["start", "1", "2", "start", "1", "2"]
    assert window.counts(window.project) == [10, 20, 0, 0]


def test_training_in_a_batch_runs_once_at_the_image_that_comes_first(window: Window) -> None:
    (window.project / "slides" / SLIDES[0]).unlink()
    script = window.scripts / TRAIN
    said = window.run_alone(
        batches(
            batch(window.project, SLIDES[:3], script),
            batch(window.project, SLIDES[1:2], script),
            batch(window.other, SLIDES[:3], script),
        )
    )
    assert window.asked == ["start"] * 3, said
    assert said.count("CellGenNet: the model is in") == 3


def test_a_failed_image_is_named_and_the_next_one_is_segmented(
    window: Window, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_FAILS", "2")
    said = window.run_alone(batches(batch(window.project, SLIDES[:3], window.scripts / SEGMENT)))
    assert f"CellGenNet: {SLIDES[1]} FAILED: its slide was not found" in said
    assert window.counts(window.project) == [10, 0, 30, 0]
    assert window.asked == ["start", "1", "2", "3"]
    said = window.run(SEGMENT, "images=slide1*;slide2*;slide4_mixed.ome.tif", image=SLIDES[2], save=True)
    assert f"CellGenNet: failed: {SLIDES[1]} (see above). All other images are done." in said
    assert window.counts(window.project) == [10, 0, 30, 40]


def test_nuclei_that_were_imported_twice_are_reported(window: Window) -> None:
    """The window's own "Update IDs?" gives random ids."""
    twice = """
        import qupath.lib.io.PathIO
        def file = new File(buildFilePath(PROJECT_BASE_DIR), "cellgennet/detections/2.geojson.gz")
        def found = PathIO.readObjects(file.toPath())
        found.each { it.setID(UUID.randomUUID()) }
        addObjects(found)
    """
    window.run(SEGMENT, "images=slide2*", image=SLIDES[1], save=True)
    window.run(twice, image=SLIDES[1], save=True)
    for backend in ("files", "qupath"):
        with open_project(window.project, backend) as project:
            assert [project.counts(entry).repeated for entry in project.entries] == [0, 20, 0, 0]
    said = window.run(SEGMENT, "images=slide2*", image=SLIDES[1], save=True)
    assert "Warning: 20 detections that stay" in said
    assert window.counts(window.project) == [0, 40, 0, 0]
    window.run(SEGMENT, "images=slide2*", "existing=replace-all", image=SLIDES[1], save=True)
    said = window.run(
        "cellgennet_import_detections.groovy", "existing=replace-all", image=SLIDES[1], save=True
    )
    assert window.counts(window.project) == [0, 20, 0, 0], said


def test_nuclei_lie_in_selected_annotations(window: Window) -> None:
    text = (window.scripts / "cellgennet_segment_image.groovy").read_text(encoding="utf-8")
    lines = text.splitlines()
    first = next(n for n, line in enumerate(lines) if line.startswith("def home"))
    select = """
        import qupath.lib.objects.PathObjects
        import qupath.lib.roi.ROIs
        import qupath.lib.regions.ImagePlane
        def rois = [0, 200].collect { ROIs.createRectangleROI(it, 0, 100, 100, ImagePlane.getDefaultPlane()) }
        def drawn = rois.collect { PathObjects.createAnnotationObject(it) }
        addObjects(drawn)
        getCurrentImageData().setChanged(true)
        getCurrentHierarchy().getSelectionModel().setSelectedObject(drawn[1])
    """
    told = 'println "BELOW " + drawn.collect { it.nChildObjects() } + " OF " + getDetectionObjects().size()'
    said = window.run(
        "\n".join([*lines[:first], select, *lines[first:], told]), "selected=true", image=SLIDES[3]
    )
    assert "BELOW [0, 5] OF 5" in said, said
    none = "resetSelection()\n"
    said = window.run("\n".join([*lines[:first], none, *lines[first:]]), "selected=true", image=SLIDES[3])
    assert "CellGenNet: select one or more closed annotations first." in said
