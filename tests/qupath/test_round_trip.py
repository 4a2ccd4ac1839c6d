"""Real QuPath returns exactly what was written, and everything else is unchanged."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely

from cellgennet_qupath.core.resources import groovy_scripts
from cellgennet_qupath.qupath.java import jvm
from cellgennet_qupath.qupath.java import objects as javaobjects
from cellgennet_qupath.qupath.java.backend import QuPathBackend
from cellgennet_qupath.qupath.open import open_project
from cellgennet_qupath.qupath.project import Within, WriteOptions
from tests.qupath.backends import assert_equal, needs_qupath, nuclei, with_cells
from tests.qupath.qpfiles import unpacked

pytestmark = pytest.mark.qupath
VERSIONS = ["0.5", "0.7"]


@pytest.fixture(autouse=True)
def _qupath() -> None:
    needs_qupath()


def image_data(project: QuPathBackend, entry: Any) -> Any:
    """An entry's data as QuPath reads them from disk now."""
    file = jvm.java_class("java.nio.file.Paths").get(str(project.path / "data" / entry.id / "data.qpdata"))
    server = javaobjects.placeholder_server(project._images[entry.id], entry)
    return jvm.java_class("qupath.lib.io.PathIO").readImageData(
        file, None, server, jvm.java_class("java.awt.image.BufferedImage").class_
    )


def told(found: Any) -> dict[str, object]:
    """All that QuPath tells of an object."""
    roi, parent = found.getROI(), found.getParent()
    nucleus = found.getNucleusROI() if found.isCell() else None
    return {
        "type": str(found.getClass().getSimpleName()),
        "class": str(found.getPathClass()),
        "name": str(found.getName()),
        "color": str(found.getColor()),
        "locked": bool(found.isLocked()),
        "parent": "root" if parent is None or parent.isRootObject() else str(parent.getID()),
        "shape": None if roi is None else shape(roi),
        "nucleus": None if nucleus is None else shape(nucleus),
        "metadata": {str(k): str(v) for k, v in dict(found.getMetadata()).items()},
        "measurements": {str(k): np.float32(float(v)) for k, v in dict(found.getMeasurements()).items()},
    }


def shape(roi: Any) -> tuple[object, ...]:
    points = np.array([(p.getX(), p.getY()) for p in roi.getAllPoints()], np.float64).reshape(-1, 2)
    geometry = shapely.normalize(shapely.from_wkb(bytes(_writer().write(roi.getGeometry()))))
    outline = shapely.to_wkt(shapely.transform(geometry, lambda xy: np.round(xy, 2)), rounding_precision=2)
    return str(roi.getRoiName()), int(roi.getC()), int(roi.getZ()), int(roi.getT()), outline, len(points)


def _writer() -> Any:
    return jvm.java_class("org.locationtech.jts.io.WKBWriter")(2)


def objects(data: Any) -> dict[str, dict[str, object]]:
    every = data.getHierarchy().getFlattenedObjectList(None)
    return {str(found.getID()): told(found) for found in every if not found.isRootObject()}


def settings(data: Any) -> dict[str, object]:
    stains = data.getColorDeconvolutionStains()
    vectors = (
        []
        if stains is None
        else [round(float(v), 6) for n in (1, 2, 3) for v in stains.getStain(n).getArray()]
    )
    return {
        "type": str(data.getImageType()),
        "stains": vectors,
        "properties": {str(k): str(v) for k, v in dict(data.getProperties()).items()},
    }


READ_HISTORY = """
import qupath.lib.plugins.workflow.Workflow
def stream = new ObjectInputStream(new FileInputStream(file))
stream.readUTF()
def item = ""
while (!(item instanceof Workflow))
    item = stream.readObject()
stream.close()
return item.getSteps().collect { it.toString() + it.getParameterMap() }
"""


def groovy(source: str, loader: Any = None, **variables: Any) -> Any:
    """What a Groovy script returns in this QuPath."""
    shell = jvm.java_class("groovy.lang.GroovyShell")(
        loader or jvm.java_class("qupath.lib.images.ImageData").class_.getClassLoader()
    )
    for name, value in variables.items():
        shell.setVariable(name, value)
    return shell.evaluate(source)


def history(file: Path) -> list[str]:
    """The steps of the history as they are stored: QuPath 0.7 adds some whenever it reads."""
    return [str(step) for step in groovy(READ_HISTORY, file=str(file))]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("cells", [False, True])
def test_only_our_nuclei_differ_object_by_object(project: Path, version: str, cells: bool) -> None:
    file = project / "data" / "1" / "data.qpdata"
    file.write_bytes(unpacked(f"everything_v{version}.qpdata"))
    expected = with_cells(nuclei()) if cells else nuclei()
    expected.z[3] = 2
    with open_project(project, "qupath", writable=True, older_qupath=True) as opened:
        assert isinstance(opened, QuPathBackend)
        one = opened.entries[0]
        before, kept, steps = (
            objects(image_data(opened, one)),
            settings(image_data(opened, one)),
            history(file),
        )
        assert len(before) == 18
        opened.write_detections(
            one, expected, WriteOptions(history={"model": "a b ü", "checksum": "sha256:1"})
        )
        opened.write_detections(
            one, expected, WriteOptions(history={"model": "a b ü", "checksum": "sha256:1"})
        )
        data = image_data(opened, one)
        after = objects(data)
        assert {key: after[key] for key in before} == before
        assert set(after) - set(before) == set(expected.ids)
        assert settings(data) == kept
        now = history(file)
        assert now[: len(steps)] == steps
        assert len(now) == len(steps) + 1  # told once, as the second time was the same
        assert "a b ü" in now[-1]
        assert_equal(opened.detections(one), expected)
        for row, identifier in enumerate(expected.ids):
            found = after[identifier]
            has_cell = cells and row > 0
            assert found["type"] == ("PathCellObject" if has_cell else "PathDetectionObject")
            wanted = {
                name: np.float32(value)
                for name, value in expected.measurements.iloc[row].items()
                if not np.isnan(value)
            }
            assert found["measurements"] == {**wanted, "Detection probability": expected.probability[row]}


def test_qupaths_own_table_shows_the_measurements(project: Path) -> None:
    expected = nuclei()
    with open_project(project, "qupath", writable=True, older_qupath=True) as opened:
        assert isinstance(opened, QuPathBackend)
        one = opened.entries[0]
        opened.write_detections(one, expected)
        data = image_data(opened, one)
        table = jvm.java_class("qupath.lib.gui.measure.ObservableMeasurementTableData")()
        ours = jvm.compiled("ObjectTransfer").own(data.getHierarchy())
        table.setImageData(data, ours)
        names = [str(name) for name in table.getAllNames()]
        assert {"Area µm^2", "Some", "Detection probability"} <= set(names)
        for found in ours:
            row = int(np.flatnonzero(expected.ids == str(found.getID()))[0])
            area = np.float32(expected.measurements["Area µm^2"][row])
            assert np.float32(float(table.getNumericValue(found, "Area µm^2"))) == area


@pytest.mark.parametrize("existing", ["replace-own", "replace-all", "keep"])
def test_what_is_there_makes_room_or_stays(project: Path, existing: str) -> None:
    (project / "data" / "1" / "data.qpdata").write_bytes(unpacked("everything_v0.7.qpdata"))
    every = nuclei()
    with open_project(project, "qupath", writable=True, older_qupath=True) as opened:
        one = opened.entries[0]
        others = opened.counts(one).detections
        tiles_and_points = others - sum(len(chunk.nuclei) for chunk in opened.detection_chunks(one))
        assert tiles_and_points > 0
        annotations = opened.annotations(one)
        opened.write_detections(one, every.take(np.arange(4)))
        opened.write_detections(one, every.take(np.arange(2, 8)), WriteOptions(existing))  # type: ignore[arg-type]
        ours = {"replace-own": 6, "replace-all": 6, "keep": 8}[existing]
        assert len(opened.detections(one)) == ours
        assert opened.counts(one).detections == ours + (
            tiles_and_points if existing == "replace-all" else others
        )
        assert {a.id for a in opened.annotations(one)} == {a.id for a in annotations}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("cells", [False, True])
def test_the_geojson_way_gives_the_same_objects(
    tmp_path: Path, project: Path, version: str, cells: bool
) -> None:
    """Written by the files backend and imported by our script's library, or written by the qupath backend."""
    (project / "data" / "1" / "data.qpdata").write_bytes(unpacked(f"everything_v{version}.qpdata"))
    expected = with_cells(nuclei()) if cells else nuclei()
    with open_project(project, "files") as opened:
        every = opened.annotations(opened.entries[0])
    drawn = [
        a for a in every if a.path_class and shapely.area(a.geometry) > 0 and a.plane.z == a.plane.t == 0
    ]
    # the third nucleus into the middle of an annotation
    shift = np.round(
        shapely.get_coordinates(shapely.point_on_surface(drawn[0].geometry))[0] - np.array([80, 40])
    )
    expected.polygons[:] = shapely.transform(expected.polygons, lambda xy: xy + shift)
    if expected.cells is not None:
        expected.cells[:] = shapely.transform(expected.cells, lambda xy: xy + shift)
    writing = WriteOptions(within=Within(drawn[0].path_class), history={"model": "m"})
    other = Path(shutil.copytree(project, tmp_path / "other"))
    with open_project(project, "qupath", writable=True, older_qupath=True) as real:
        assert isinstance(real, QuPathBackend)
        entry = real.entries[0]
        real.write_detections(entry, expected.take(np.arange(3)), writing)
        real.write_detections(entry, expected, writing)
        directly = objects(image_data(real, entry))
        steps = history(project / "data" / "1" / "data.qpdata")[-1]
    with open_project(other, "files", writable=True, older_qupath=True) as files:
        files.write_detections(entry, expected, writing)
    with open_project(other, "qupath") as real:
        assert isinstance(real, QuPathBackend)
        data = image_data(real, entry)
        import_with_library(real, entry, data)
        assert objects(data) == directly
        assert any(directly[key]["parent"] != "root" for key in expected.ids)
        told = groovy("return step.toString() + step.getParameterMap()", step=last_step(data))
        assert str(told) == steps


def last_step(data: Any) -> Any:
    return data.getHistoryWorkflow().getLastStep()


def import_with_library(project: QuPathBackend, entry: Any, data: Any) -> None:
    """What cellgennet_import_detections.groovy does with the open image, by its own code."""
    loader = jvm.java_class("groovy.lang.GroovyClassLoader")(
        jvm.java_class("qupath.lib.images.ImageData").class_.getClassLoader()
    )
    source = (groovy_scripts() / "library.groovy").read_text(encoding="utf-8")
    loader.parseClass(source, "library.groovy")
    home = project.path / "home"
    home.mkdir()
    (home / "qupath.properties").write_text("python=python\n", encoding="utf-8")
    groovy(
        "qupath.lib.scripting.QP.setBatchProjectAndImage(project, data)\n"
        "new CellGenNet(home, this).bringIn(entry, data, '', false)\n"
        "qupath.lib.scripting.QP.resetBatchProjectAndImage()",
        loader,
        home=jvm.java_class("java.io.File")(str(home)),
        entry=project._images[entry.id],
        data=data,
        project=jvm.open_project(str(project.path / "project.qpproj")),
    )


def test_ids_stay_the_same_from_run_to_run(project: Path) -> None:
    with open_project(project, "qupath", writable=True, older_qupath=True) as opened:
        one, two = opened.entries
        opened.write_detections(one, nuclei())
        first = set(opened.detections(one).ids)
        opened.write_detections(one, nuclei())
        assert set(opened.detections(one).ids) == first
        unchanged = hashlib.sha256((project / "data" / "1" / "data.qpdata").read_bytes()).hexdigest()
        opened.write_detections(two, nuclei())
        assert hashlib.sha256((project / "data" / "1" / "data.qpdata").read_bytes()).hexdigest() == unchanged
