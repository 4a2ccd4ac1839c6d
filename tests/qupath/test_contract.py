"""What holds for both backends, on the same projects."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import shapely

from cellgennet_qupath.core.errors import CellGenNetError, EntryDataError, LockedError
from cellgennet_qupath.nuclei import Nuclei
from cellgennet_qupath.qupath.formats.geojson import read_annotations
from cellgennet_qupath.qupath.open import Backend, open_project
from cellgennet_qupath.qupath.project import Annotation, Project, WriteOptions
from tests.helpers import project_hashes
from tests.qupath.backends import assert_equal, needs_qupath, nuclei, with_cells
from tests.qupath.qpfiles import unpacked

VERSIONS = ["0.5", "0.7"]


@pytest.fixture(params=["files", pytest.param("qupath", marks=pytest.mark.qupath)])
def backend(request: pytest.FixtureRequest) -> Backend:
    if request.param == "qupath":
        needs_qupath()
        return "qupath"
    return "files"


@pytest.fixture
def qupath() -> None:
    needs_qupath()


def same(first: Annotation, second: Annotation) -> bool:
    """Equal in everything that GeoJSON tells, shapes to 0.01 px."""
    shapes = shapely.normalize(np.array([first.geometry, second.geometry], dtype=object))
    told = [(a.id, a.path_class, a.name, a.color, a.locked, a.plane) for a in (first, second)]
    return told[0] == told[1] and bool(shapely.equals_exact(shapes[0], shapes[1], 0.0101))


@pytest.mark.parametrize("version", VERSIONS)
def test_a_real_project_is_what_qupath_exported_of_it(backend: Backend, shared: Path, version: str) -> None:
    folder = shared / "qupath"
    expected = json.loads((folder / f"expected_v{version}" / "summary.json").read_text(encoding="utf-8"))
    with open_project(folder / f"project_v{version}", backend) as project:
        assert project.backend == backend
        assert len(project.entries) == len(expected["entries"]) == 9
        for entry in project.entries:
            told = expected["entries"][entry.id]
            counts = project.counts(entry)
            assert (counts.annotations, counts.detections) == (told["annotations"], told["detections"])
            assert entry.mpp == (told["mpp"], told["mpp"])
            assert entry.slide is not None
            exported = {
                annotation.id: annotation
                for annotation in read_annotations(folder / f"expected_v{version}" / f"{entry.id}.geojson")
            }
            found = project.annotations(entry)
            assert {annotation.id for annotation in found} == set(exported)
            assert all(same(annotation, exported[annotation.id]) for annotation in found)
            classes = [annotation.path_class for annotation in found]
            assert counts.by_class == {name: classes.count(name) for name in classes}


@pytest.mark.qupath
@pytest.mark.parametrize("version", VERSIONS)
def test_both_backends_tell_the_same(qupath: None, shared: Path, version: str) -> None:
    path = shared / "qupath" / f"project_v{version}"
    with open_project(path, "files") as files, open_project(path, "qupath") as real:
        assert list(files.entries) == list(real.entries)
        for entry in files.entries:
            assert files.counts(entry) == real.counts(entry)
            assert files.stains(entry) == real.stains(entry)
            others = {annotation.id: annotation for annotation in real.annotations(entry)}
            for annotation in files.annotations(entry):
                assert same(annotation, others[annotation.id])
                assert annotation.roi == others[annotation.id].roi


def test_detections_are_written_and_read_back(backend: Backend, project: Path) -> None:
    expected = nuclei()
    with open_project(project, backend, writable=True, older_qupath=True) as opened:
        one, never_opened = opened.entries
        annotations = opened.annotations(one)
        for entry in (one, never_opened):
            assert len(opened.detections(entry)) == 0
            written = opened.write_detections(entry, expected)
            assert written.count == len(expected)
            assert written.file.is_file()
            assert_equal(opened.detections(entry), expected)
            fewer = expected.take(np.arange(3))
            opened.write_detections(entry, fewer)
            assert_equal(opened.detections(entry), fewer)
            assert opened.counts(one).annotations == len(annotations)
        assert opened.annotations(one) == annotations
        assert opened.annotations(never_opened) == []
        opened.write_detections(one, Nuclei.from_polygons([]))
        assert len(opened.detections(one)) == 0
    leftovers = {path.name for path in (project / "cellgennet").rglob("*") if path.is_file()}
    suffixes = ("geojson.gz", "parquet", "json") if backend == "files" else ()
    kept = {f"{number}.{suffix}" for number in (1, 2) for suffix in suffixes}
    assert leftovers == {*kept, "project.lock"}


def test_planes_are_kept(backend: Backend, project: Path) -> None:
    base = nuclei()
    stack = Nuclei(
        base.polygons,
        base.probability,
        base.classes,
        base.ids,
        np.arange(len(base), dtype=np.int32) % 3,
        np.arange(len(base), dtype=np.int32) % 2,
        base.measurements,
    )
    with open_project(project, backend, writable=True, older_qupath=True) as opened:
        opened.write_detections(opened.entries[0], stack)
        assert_equal(opened.detections(opened.entries[0]), stack)


def test_cells_are_kept(backend: Backend, project: Path) -> None:
    expected = with_cells(nuclei())
    with open_project(project, backend, writable=True, older_qupath=True) as opened:
        one = opened.entries[0]
        opened.write_detections(one, expected)
        assert_equal(opened.detections(one), expected)
        opened.write_detections(one, nuclei())
        assert_equal(opened.detections(one), nuclei())


def test_nuclei_that_are_there_are_kept_if_so_wished(backend: Backend, project: Path) -> None:
    every = nuclei()
    with open_project(project, backend, writable=True, older_qupath=True) as opened:
        one = opened.entries[0]
        opened.write_detections(one, every.take(np.arange(5)))
        opened.write_detections(one, every.take(np.arange(3, 8)), WriteOptions("keep"))
        assert_equal(opened.detections(one), every)
        opened.write_detections(one, every.take(np.arange(2)), WriteOptions("replace-own"))
        assert len(opened.detections(one)) == 2


def test_data_that_is_cut_off_or_missing_is_an_error(backend: Backend, project: Path, small: bytes) -> None:
    data = project / "data" / "1" / "data.qpdata"
    with open_project(project, backend, writable=True, older_qupath=True) as opened:
        one = opened.entries[0]
        for content in (b"", small[:4], small[: len(small) // 2], b"no data at all"):
            data.write_bytes(content)
            before = project_hashes(project)
            with pytest.raises(EntryDataError, match=r"data\.qpdata"):
                opened.annotations(one)
            with pytest.raises(EntryDataError):
                opened.counts(one)
            if backend == "qupath":
                with pytest.raises(EntryDataError):
                    opened.write_detections(one, nuclei())
            assert project_hashes(project) == before
        data.unlink()
        with pytest.raises(EntryDataError, match="is missing"):
            opened.annotations(one)


def test_objects_that_the_summary_does_not_tell_of_are_an_error(backend: Backend, project: Path) -> None:
    summary = {
        "hierarchy": {
            "objectTypeCounts": {"Root objects": 1, "Annotations": 3, "Detections": 1},
            "annotationClassificationCounts": {"Training": 1, "Unclassified": 2},
        }
    }
    (project / "data" / "1" / "summary.json").write_text(json.dumps(summary), encoding="utf-8")
    with (
        open_project(project, backend) as opened,
        pytest.raises(EntryDataError, match=r"than summary\.json says"),
    ):
        opened.annotations(opened.entries[0])


@pytest.mark.parametrize("version", VERSIONS)
def test_every_kind_of_object_outlives_writing(backend: Backend, project: Path, version: str) -> None:
    """Objects of other tools, objects inside objects, odd names, long texts."""
    data = project / "data" / "1" / "data.qpdata"
    data.write_bytes(unpacked(f"everything_v{version}.qpdata"))
    with (
        open_project(project, backend, writable=True, older_qupath=True) as opened,
        open_project(project, "files") as files,
    ):
        one = opened.entries[0]
        before = {annotation.id: annotation for annotation in opened.annotations(one)}
        exactly = files.annotations(one)
        counts = opened.counts(one)
        assert (counts.annotations, counts.detections, counts.total) == (14, 4, 18)
        for n in (8, 3):
            opened.write_detections(one, nuclei(n))
        assert_equal(opened.detections(one), nuclei(3))
        after = opened.annotations(one)
        assert {annotation.id for annotation in after} == set(before)
        assert all(same(annotation, before[annotation.id]) for annotation in after)
        assert files.annotations(one) == exactly
        added = 3 if backend == "qupath" else 0
        assert opened.counts(one).detections == 4 + added
        assert files.counts(one) == opened.counts(one)


def test_one_writer_at_a_time(backend: Backend, project: Path) -> None:
    with open_project(project, backend, writable=True, older_qupath=True):
        with pytest.raises(LockedError):
            open_project(project, backend, writable=True, older_qupath=True)
        with open_project(project, backend) as reader, pytest.raises(ValueError, match="read-only"):
            reader.write_detections(reader.entries[0], nuclei())
    assert not (project / "cellgennet" / "lock.json").exists()


# --- what QuPath does with what is written ---------------------------------------------------------------


@pytest.mark.qupath
@pytest.mark.parametrize("copied", VERSIONS, indirect=True)
def test_only_detections_change_in_a_real_project(qupath: None, copied: Path) -> None:
    before = project_hashes(copied)
    with (
        open_project(copied, "files") as files,
        open_project(copied, "qupath", writable=True, older_qupath=True) as real,
    ):
        for entry in real.entries:
            earlier, counts, stains = files.annotations(entry), files.counts(entry), files.stains(entry)
            real.write_detections(entry, nuclei())
            real.write_detections(entry, nuclei().take(np.arange(5)))
            for project in (files, real):
                found = {annotation.id: annotation for annotation in project.annotations(entry)}
                assert set(found) == {annotation.id for annotation in earlier}
                assert all(same(annotation, found[annotation.id]) for annotation in earlier)
                now = project.counts(entry)  # compared with the new summary.json on the way
                assert now.detections == counts.detections + 5  # those of other tools stay
                assert now.total == counts.total + 5
            assert files.annotations(entry) == earlier
            after = files.stains(entry)
            assert stains is not None
            assert after is not None
            np.testing.assert_allclose(after.vectors, stains.vectors, atol=1e-6)
            assert (copied / "data" / entry.id / "summary.json").is_file()
    hashes = project_hashes(copied)
    changed = {name for name in hashes if hashes[name] != before.get(name)}
    assert set(before) <= set(hashes)
    assert changed == {f"data/{n}/{name}" for n in range(1, 10) for name in ("data.qpdata", "summary.json")}


@pytest.mark.qupath
def test_what_changed_in_qupath_is_what_is_read(qupath: None, project: Path) -> None:
    from cellgennet_qupath.qupath.java import jvm

    with open_project(project, "qupath", writable=True, older_qupath=True) as opened:
        one = opened.entries[0]
        opened.write_detections(one, nuclei())
        data = project / "data" / "1" / "data.qpdata"
        edit(jvm, opened, data)
        found = opened.detections(one)
        assert len(found) == len(nuclei()) - 1
        assert set(found.classes) == {"Changed"}
        assert (found.measurements["New"] == 3).all()


def edit(jvm: object, opened: Project, data: Path) -> None:
    """As a user in QuPath: one detection deleted, the others given a class and a measurement."""
    from cellgennet_qupath.qupath.java import jvm as java
    from cellgennet_qupath.qupath.java import objects as javaobjects

    transfer = java.compiled("ObjectTransfer")
    paths = java.java_class("java.nio.file.Paths")
    image = java.open_project(str(opened.path / "project.qpproj")).getImageList()[0]
    image_data = transfer.read(paths.get(str(data)), javaobjects.placeholder_server(image, opened.entries[0]))
    ours = list(transfer.own(image_data.getHierarchy()))
    transfer.remove(image_data, "", transfer.parse(str(ours[0].getID())))
    path_class = java.java_class("qupath.lib.objects.classes.PathClass").fromString("Changed")
    for detection in ours[1:]:
        detection.setPathClass(path_class)
        detection.getMeasurementList().put("New", 3.0)
    transfer.write(image_data, paths.get(str(data)))
    data.with_name("summary.json").unlink()


@pytest.mark.qupath
def test_the_geojson_imports_whole(qupath: None, project: Path) -> None:
    """Through the reader that QuPath uses for drag and drop and for scripts."""
    from cellgennet_qupath.qupath.java import jvm

    expected = nuclei()
    with open_project(project, "files", writable=True, older_qupath=True) as opened:
        place = opened.write_detections(opened.entries[0], expected).file
    reader = jvm.java_class("qupath.lib.io.PathIO")
    objects = list(reader.readObjects(jvm.java_class("java.nio.file.Paths").get(str(place))))
    assert len(objects) == len(expected)
    assert {str(imported.getID()) for imported in objects} == set(expected.ids)
    assert all(imported.isDetection() for imported in objects)
    for imported, row in zip(objects, range(len(expected)), strict=True):
        path_class = imported.getPathClass()
        assert ("" if path_class is None else str(path_class.toString())) == expected.classes[row]
        measured = {str(k): float(v) for k, v in imported.getMeasurements().items()}
        assert measured["Detection probability"] == pytest.approx(expected.probability[row], rel=1e-6)
        assert ("Some" in measured) == (row > 0)
        area = float(imported.getROI().getArea())
        assert area == pytest.approx(expected.polygons[row].area, rel=2e-3)


@pytest.mark.qupath
def test_qupath_never_writes_to_stdout(qupath: None, project: Path) -> None:
    script = (
        "import sys\n"
        "from pathlib import Path\n"
        "import shapely\n"
        "from cellgennet_qupath.nuclei import Nuclei\n"
        "from cellgennet_qupath.qupath.open import open_project\n"
        "with open_project(Path(sys.argv[1]), 'qupath', writable=True, older_qupath=True) as project:\n"
        "    entry = project.entries[0]\n"
        "    project.annotations(entry)\n"
        "    project.write_detections(entry, Nuclei.from_polygons([shapely.box(0, 0, 5, 5)]))\n"
        "print('done')\n"
    )
    run = subprocess.run([sys.executable, "-c", script, str(project)], capture_output=True, text=True)
    assert (run.returncode, run.stdout) == (0, "done\n"), run.stderr
    assert run.stderr == ""


def test_errors_are_ours(backend: Backend, tmp_path: Path) -> None:
    with pytest.raises(CellGenNetError, match="does not exist"):
        open_project(tmp_path / "nowhere", backend)
