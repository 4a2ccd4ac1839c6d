"""The scripts in real QuPath, on a project whose path holds a space and an umlaut."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cellgennet_qupath.nuclei import OWN_MARK
from cellgennet_qupath.qupath.formats.detections import read_detections
from cellgennet_qupath.qupath.open import open_project
from tests.qupath.backends import nuclei
from tests.qupath.in_qupath import InQuPath, executable, image_names


@pytest.fixture(scope="module")
def qupath(sample_project: Path, tmp_path_factory: pytest.TempPathFactory) -> InQuPath:
    program = executable()
    if program is None:
        pytest.skip("no QuPath that paquo can find (set PAQUO_QUPATH_DIR)")
    return InQuPath(program, tmp_path_factory.mktemp("scripts"), sample_project)


@pytest.fixture(scope="module")
def model(qupath: InQuPath) -> Path:
    """The model that the training script writes."""
    target = qupath.project / "cellgennet" / "mödel.cgn"
    said = qupath.run(
        "cellgennet_train.groovy",
        f"model={target}",
        f"config={qupath.tiny}",
        image=image_names(qupath.project)[0],
    )
    assert (target / "model.yaml").is_file(), said
    assert "CellGenNet: the model is in" in said
    return target


@pytest.mark.qupath
@pytest.mark.slow
def test_segment_project_puts_nuclei_into_every_image(qupath: InQuPath, model: Path) -> None:
    names = image_names(qupath.project)
    with open_project(qupath.project, "files") as files:
        before = {entry.id: files.annotations(entry) for entry in files.entries}
    said = qupath.run(
        "cellgennet_segment_project.groovy", f"model={model}", "images=*", image=names[0], save=True
    )
    assert "[1] " in said, said  # progress arrived in the log
    assert said.count("nuclei saved in") == 3
    with open_project(qupath.project, "files") as files, open_project(qupath.project, "qupath") as real:
        for entry in files.entries:
            expected, found = files.detections(entry), real.detections(entry)
            assert len(expected) == len(found) > 0
            assert set(expected.ids) == set(found.ids)
            assert all(identifier.startswith(OWN_MARK) for identifier in found.ids)
            assert files.annotations(entry) == before[entry.id]


@pytest.mark.qupath
@pytest.mark.slow
def test_run_for_project_loads_the_model_once(qupath: InQuPath, model: Path) -> None:
    """Without -i the script runs for each image, as with Run for project."""
    said = qupath.run(
        "cellgennet_segment_project.groovy", f"model={model}", "existing=replace-all", save=True
    )
    assert said.count("[4] ") == 1, said
    assert said.count(" nuclei in ") == 4
    assert "Exception" not in said


@pytest.mark.qupath
@pytest.mark.slow
def test_segment_image_sees_unsaved_annotations(qupath: InQuPath, model: Path) -> None:
    """The open image has an annotation that was never saved; nuclei are wanted inside it only."""
    name = image_names(qupath.project)[1]
    drawn = """
        import qupath.lib.objects.PathObjects
        import qupath.lib.roi.ROIs
        import qupath.lib.regions.ImagePlane
        import qupath.lib.objects.classes.PathClass
        def roi = ROIs.createRectangleROI(100, 100, 300, 300, ImagePlane.getDefaultPlane())
        def drawn = PathObjects.createAnnotationObject(roi, PathClass.fromString("Unsaved"))
        addObjects([drawn])
        getCurrentImageData().setChanged(true)
    """
    script = (qupath.scripts / "cellgennet_segment_image.groovy").read_text(encoding="utf-8")
    told = """
        def below = drawn.getChildObjects().findAll { it.isDetection() }
        println "BELOW " + below.size() + " " + below.count { it.isCell() }
        println "STEP " + getCurrentImageData().getHistoryWorkflow().getLastStep().getParameterMap()
    """
    lines = script.splitlines()
    first = next(n for n, line in enumerate(lines) if line.startswith("def home"))
    options = [f"model={model}", "within=Unsaved", "cells=3"]
    said = qupath.run("\n".join([*lines[:first], drawn, *lines[first:], told]), *options, image=name)
    below = next(line for line in said.splitlines() if "BELOW" in line).split("BELOW ")[1].split()
    assert int(below[0]) == int(below[1]) > 0, said
    assert "checksum:sha256:" in said
    # What was not saved stays out of the project.
    assert not (qupath.project / "cellgennet" / "annotations" / "2.geojson").exists()


@pytest.mark.qupath
def test_annotations_are_exported_where_the_tool_reads_them(qupath: InQuPath) -> None:
    name = image_names(qupath.project)[0]
    with open_project(qupath.project, "files") as files:
        expected = files.annotations(files.entries[0])
    said = qupath.run("cellgennet_export_annotations.groovy", image=name)
    assert f"{len(expected)} annotations of {name} written" in said
    with open_project(qupath.project, "files") as files:
        found = files.annotations(files.entries[0])
    assert {a.id for a in found} == {a.id for a in expected}
    (qupath.project / "cellgennet" / "annotations" / "1.geojson").unlink()


@pytest.mark.qupath
def test_the_error_of_python_is_the_error_in_qupath(qupath: InQuPath) -> None:
    name = image_names(qupath.project)[0]
    said = qupath.run("cellgennet_segment_image.groovy", "model=nö where.cgn", image=name)
    assert "CellGenNet: Error: nö where.cgn: there is no such model bundle" in said
    said = qupath.run("cellgennet_import_detections.groovy", image=image_names(qupath.project)[3])
    assert "CellGenNet" in said
    settings = qupath.home / "qupath.properties"
    told = settings.read_text(encoding="utf-8")
    settings.write_text("python=/no/such python\n", encoding="utf-8")
    try:
        said = qupath.run("cellgennet_segment_image.groovy", image=name)
    finally:
        settings.write_text(told, encoding="utf-8")
    assert "CellGenNet: cannot start /no/such python" in said


@pytest.mark.qupath
@pytest.mark.skipif(sys.platform == "win32", reason="no SIGTERM there")
def test_a_stopped_script_stops_the_tool(qupath: InQuPath, tmp_path: Path) -> None:
    """QuPath being ended ends the Python that it started."""
    pid = tmp_path / "pid"
    waiting = tmp_path / "wait ing.sh"
    waiting.write_text(f"#!/bin/sh\necho $$ > '{pid}'\nexec sleep 4000\n", encoding="utf-8")
    waiting.chmod(0o755)
    settings = qupath.home / "qupath.properties"
    told = settings.read_text(encoding="utf-8")
    settings.write_text(f"python={waiting}\n", encoding="utf-8")
    script = qupath.scripts / "cellgennet_segment_image.groovy"
    command = qupath.start(script, image=image_names(qupath.project)[0])
    with subprocess.Popen(
        command, env=qupath.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as running:
        try:
            while not (pid.is_file() and pid.read_text()):
                assert running.poll() is None
                time.sleep(0.1)
            number = int(pid.read_text())
            # The launcher may be a shell script around Java.
            for child in [*children(running.pid), running.pid]:
                if child != number:
                    os.kill(child, 15)
            running.wait()
            while alive(number):  # the child sleeps for longer than the test may take
                time.sleep(0.1)
        finally:
            running.kill()
            settings.write_text(told, encoding="utf-8")


def children(parent: int) -> list[int]:
    found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(parent)], capture_output=True, text=True)
    return [int(line) for line in found.stdout.split()]


def alive(pid: int) -> bool:
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True).stdout
    return bool(state.strip()) and not state.startswith("Z")


@pytest.mark.qupath
def test_import_replaces_own_nuclei_only(qupath: InQuPath) -> None:
    """The file of another run comes in, a detection drawn in QuPath stays."""
    expected = nuclei()
    name = image_names(qupath.project)[2]
    with open_project(qupath.project, "files", writable=True) as files:
        entry = files.entries[2]
        place = files.write_detections(entry, expected).file
    earlier = len(read_detections(place))
    drawn = """
        import qupath.lib.objects.PathObjects
        import qupath.lib.roi.ROIs
        import qupath.lib.regions.ImagePlane
        clearAllObjects()
        def roi = ROIs.createRectangleROI(0, 0, 9, 9, ImagePlane.getDefaultPlane())
        addObjects([PathObjects.createDetectionObject(roi)])
    """
    script = (qupath.scripts / "cellgennet_import_detections.groovy").read_text(encoding="utf-8").splitlines()
    twice = [*script, script[-1]]
    told = 'println "THERE " + getDetectionObjects().size()'
    said = qupath.run("\n".join([drawn, *twice, told]), image=name)
    assert f"THERE {earlier + 1}" in said, said


@pytest.mark.qupath
@pytest.mark.slow
def test_suggestions_are_added_and_replaced(qupath: InQuPath) -> None:
    names = image_names(qupath.project)
    told = """
        def found = getAnnotationObjects().findAll { it.getPathClass()?.toString() == "Suggested" }
        def sound = found.count { it.isLocked() && it.getDescription() =~ "doubtful" }
        println "FOUND ${found.size()} ${sound}"
    """
    script = (qupath.scripts / "cellgennet_suggest.groovy").read_text(encoding="utf-8")
    for _ in range(2):
        said = qupath.run("\n".join([script, told]), "count=3", "size=160", image=names[0])
        assert "pictures of the suggestions" in said, said
        with open_project(qupath.project, "files") as files:
            saved = sum(a.path_class == "Suggested" for e in files.entries for a in files.annotations(e))
        here = next(line for line in said.splitlines() if "FOUND" in line).split("FOUND ")[1].split()
        # What is open is not saved; the others are.
        assert int(here[0]) == int(here[1])
        assert saved + int(here[0]) == 3, said


@pytest.mark.qupath
def test_nuclei_become_annotations_to_correct(qupath: InQuPath) -> None:
    drawn = """
        import qupath.lib.objects.PathObjects
        import qupath.lib.roi.ROIs
        import qupath.lib.regions.ImagePlane
        clearAllObjects()
        def plane = ImagePlane.getDefaultPlane()
        def square = { x, y, side -> ROIs.createRectangleROI(x, y, side, side, plane) }
        def cell = PathObjects.createCellObject(square(100, 100, 30), square(105, 105, 10))
        def outside = PathObjects.createDetectionObject(square(400, 400, 10))
        def tile = PathObjects.createTileObject(square(120, 120, 20))
        addObjects([PathObjects.createDetectionObject(square(60, 60, 10)), cell, outside, tile])
        def region = PathObjects.createAnnotationObject(square(50, 50, 200))
        addObject(region)
        resolveHierarchy()
        getCurrentHierarchy().getSelectionModel().setSelectedObjects([region], region)
    """
    told = """
        def annotations = getAnnotationObjects()
        def areas = annotations.findAll { it != region }.collect { it.getROI().getArea() as int }
        def counts = annotations.size() + " " + getDetectionObjects().size()
        println "THERE ${counts} ${region.getPathClass()} ${areas}"
    """
    script = (qupath.scripts / "cellgennet_correct.groovy").read_text(encoding="utf-8")
    said = qupath.run("\n".join([drawn, script, told]), image=image_names(qupath.project)[3])
    assert "2 nuclei are now annotations in 1 region" in said, said
    assert "THERE 3 2 Training [100, 100]" in said, said
    said = qupath.run("cellgennet_correct.groovy", image=image_names(qupath.project)[3])
    assert "select a rectangle" in said
