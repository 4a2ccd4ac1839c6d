"""Whatever goes wrong while saving, an entry contains all of the old data or all of the new."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import shapely

from cellgennet_qupath.core.errors import EntryDataError
from cellgennet_qupath.nuclei import Nuclei
from cellgennet_qupath.qupath.formats.detections import read_detections
from cellgennet_qupath.qupath.java import objects as javaobjects
from cellgennet_qupath.qupath.java import write
from cellgennet_qupath.qupath.open import open_project
from tests.qupath.backends import needs_qupath, nuclei

pytestmark = pytest.mark.qupath

MANY = 4000
ROOT = Path(__file__).parents[3]
KILLS = int(os.environ.get("CELLGENNET_KILLS", "3"))
"""How often a writer is killed; 30 for a thorough test."""


@pytest.fixture(autouse=True)
def _qupath() -> None:
    needs_qupath()


def many(shift: float = 0.0) -> Nuclei:
    x, y = np.meshgrid(np.arange(80), np.arange(MANY // 80))
    centres = shapely.points(x.ravel() * 20.0 + shift, y.ravel() * 20.0)
    outlines = np.asarray(shapely.buffer(centres, 8, quad_segs=6), dtype=object)
    return Nuclei.from_polygons(outlines, np.full(MANY, 0.5))


WRITER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from tests.qupath.java.test_failures import many
from cellgennet_qupath.qupath.open import open_project
with open_project(Path(sys.argv[1]), "qupath", writable=True) as project:
    entry = project.entries[0]
    sets = [many(1.0), many(2.0)]
    project.write_detections(entry, sets[0])
    for turn in range(1, 1000):
        print("saving", flush=True)
        project.write_detections(entry, sets[turn % 2])
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
@pytest.mark.slow
def test_killed_at_any_moment(project: Path) -> None:
    """A process that saves over and over is killed at random; QuPath then opens old or new, never neither."""
    moments = random.Random(5)
    sets = {frozenset(many(shift).ids): shift for shift in (1.0, 2.0)}
    seen = []
    with open_project(project, "qupath") as opened:
        annotations = opened.annotations(opened.entries[0])
    for _ in range(KILLS):
        command = [sys.executable, "-c", WRITER, str(project), str(ROOT)]
        writer = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"saving\n"
        time.sleep(moments.uniform(0, 1.5))
        writer.send_signal(signal.SIGKILL)
        writer.communicate()
        with open_project(project, "qupath") as opened:
            entry = opened.entries[0]
            found = frozenset(opened.detections(entry).ids)
            assert found in sets
            seen.append(sets[found])
            assert opened.annotations(entry) == annotations
            assert opened.counts(entry).detections == MANY + 1
    # and the next run gets the lock and removes leftover files
    with open_project(project, "qupath", writable=True) as opened:
        opened.write_detections(opened.entries[0], nuclei())
        assert len(opened.detections(opened.entries[0])) == len(nuclei())
        assert list((opened.work_folder / "detections").iterdir()) == []
    print("killed", KILLS, "times; left:", seen)


@pytest.fixture
def on_small_disk(project: Path, tmp_path: Path) -> Iterator[Path]:
    """The project on a disk of 256 kB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)]
    if sys.platform != "linux" or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("a small disk can be made on Linux only, and not by this user")
    try:
        yield Path(shutil.copytree(project, disk / "project"))
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk_changes_nothing(on_small_disk: Path) -> None:
    data = on_small_disk / "data" / "1" / "data.qpdata"
    before = data.read_bytes()
    with open_project(on_small_disk, "qupath", writable=True) as opened:
        with pytest.raises(EntryDataError, match="it is unchanged"):
            opened.write_detections(opened.entries[0], many())
        assert data.read_bytes() == before
        assert list((opened.work_folder / "detections").iterdir()) == []
        assert opened.write_detections(opened.entries[0], nuclei()).count == len(nuclei())


def test_a_missing_slide_or_reader_loses_nothing(project: Path) -> None:
    """The project names a slide and a reader that do not exist; QuPath 0.5 itself would cut the file off."""
    with open_project(project, "qupath", writable=True) as opened:
        one = opened.entries[0]
        assert one.slide is None
        before = opened.annotations(one)
        for n in (8, 5):
            opened.write_detections(one, nuclei(n))
            assert opened.annotations(one) == before
            assert len(opened.detections(one)) == n
    assert not (project / "data" / "1" / "data.qpdata.bkp").exists()


def test_an_entry_saved_by_another_program_meanwhile_is_left_alone(
    project: Path, monkeypatch: pytest.MonkeyPatch, small: bytes
) -> None:
    data = project / "data" / "1" / "data.qpdata"
    add = javaobjects.add

    def saved_in_qupath(*arguments: object, **more: object) -> int:
        data.write_bytes(small + b" ")
        return add(*arguments, **more)  # type: ignore[arg-type]

    with open_project(project, "qupath", writable=True) as opened:
        monkeypatch.setattr(javaobjects, "add", saved_in_qupath)
        with pytest.raises(EntryDataError, match=r"changed by another program.*cellgennet_import_detections"):
            opened.write_detections(opened.entries[0], nuclei())
        assert data.read_bytes() == small + b" "
        kept = opened.work_folder / "detections" / "1.geojson.gz"
        assert [path.name for path in kept.parent.iterdir()] == [kept.name]
        assert set(read_detections(kept).ids) == set(nuclei().ids)


def test_the_disk_fills_up_at_the_last_step(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = project / "data" / "1" / "data.qpdata"
    before = data.read_bytes()

    def full(self: Path, text: str, encoding: str) -> int:
        raise OSError(28, "No space left on device")

    with open_project(project, "qupath", writable=True) as opened:
        with monkeypatch.context() as patch:
            patch.setattr(Path, "write_text", full)
            with pytest.raises(EntryDataError, match="No space left on device"):
                opened.write_detections(opened.entries[0], nuclei())
        assert data.read_bytes() == before
        assert list((opened.work_folder / "detections").iterdir()) == []


@pytest.mark.parametrize("what", ["annotations", "others", "ours"])
def test_what_qupath_would_write_wrongly_never_takes_the_place_of_the_old(
    project: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    data = project / "data" / "1" / "data.qpdata"
    before = data.read_bytes()
    add = javaobjects.add

    def wrongly(image_data: object, *arguments: object, **more: object) -> int:
        count = add(image_data, *arguments, **more)  # type: ignore[arg-type]
        hierarchy = image_data.getHierarchy()  # type: ignore[attr-defined]
        objects = {
            "annotations": hierarchy.getAnnotationObjects(),
            "others": hierarchy.getDetectionObjects(),
            "ours": hierarchy.getDetectionObjects(),
        }[what]
        ours = set(nuclei().ids)
        for found in objects:
            if (str(found.getID()) in ours) == (what == "ours"):
                if what == "ours":
                    found.getParent().removeChildObject(found)
                else:
                    found.setName("changed")
                break
        return count

    with open_project(project, "qupath", writable=True) as opened:
        monkeypatch.setattr(javaobjects, "add", wrongly)
        with pytest.raises(EntryDataError, match="Nothing was changed"):
            opened.write_detections(opened.entries[0], nuclei())
        assert data.read_bytes() == before
        assert list((opened.work_folder / "detections").iterdir()) == []


def test_leftovers_of_a_killed_save_of_qupath_are_reported(project: Path) -> None:
    data = project / "data" / "1" / "data.qpdata"
    shutil.copy(data, data.with_name("data.qpdata.bkp"))
    data.write_bytes(b"")
    with open_project(project, "qupath", writable=True) as opened:
        for action in (opened.annotations, opened.detections, opened.counts):
            with pytest.raises(EntryDataError, match=r"is empty.*data\.qpdata\.bkp"):
                action(opened.entries[0])
        with pytest.raises(EntryDataError, match=r"data\.qpdata\.bkp"):
            opened.write_detections(opened.entries[0], nuclei())


def test_a_damaged_file_is_not_overwritten(project: Path) -> None:
    """Its end is whole, so that only reading tells."""
    data = project / "data" / "1" / "data.qpdata"
    content = data.read_bytes()
    for place in range(600, len(content) - 600, len(content) // 7):
        data.write_bytes(content[:place] + bytes(64) + content[place + 64 :])
        before = data.read_bytes()
        with open_project(project, "qupath", writable=True) as opened:
            try:
                opened.write_detections(opened.entries[0], nuclei())
            except EntryDataError:
                assert data.read_bytes() == before
            else:
                assert opened.counts(opened.entries[0]).annotations == 2


def test_an_interrupted_move_changes_nothing(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = project / "data" / "1" / "data.qpdata"
    before = data.read_bytes()

    def refused(*arguments: object) -> None:
        raise PermissionError(13, "Permission denied")

    with open_project(project, "qupath", writable=True) as opened:
        monkeypatch.setattr(write, "move_in_place", refused)
        with pytest.raises(EntryDataError, match=r"Permission denied.*it is unchanged"):
            opened.write_detections(opened.entries[0], nuclei())
    assert data.read_bytes() == before
