"""``cellgennet restore``, and what ``inspect`` reports of what is kept for images."""

from __future__ import annotations

from pathlib import Path

import pytest
import shapely

from cellgennet_qupath.nuclei import Nuclei
from cellgennet_qupath.qupath.files import FilesBackend
from cellgennet_qupath.qupath.replaced import MOST_KEPT, keep_detections, kept_detections
from tests.helpers import invoke
from tests.qupath.test_kept import NUCLEI, OTHERS, make_project, make_slide


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project whose nuclei (two) were replaced by another one."""
    folder = make_project(tmp_path / "p", make_slide(tmp_path / "liver.tif", b"liver"))
    with FilesBackend(folder, writable=True) as opened:
        (entry,) = opened.entries
        assert keep_detections(opened, entry) is None
        opened.write_detections(entry, NUCLEI)
        keep_detections(opened, entry)
        opened.write_detections(entry, OTHERS)
    return folder


def count(folder: Path) -> int:
    with FilesBackend(folder) as opened:
        return len(opened.detections(opened.entries[0]))


def test_replaced_detections_are_put_back_and_back_again(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert count(project) == 1
    for expected in (2, 1, 2):
        code, out, _ = invoke(capsys, "restore", project, "--backend", "files", "--image", "liver*")
        assert code == 0
        assert f"liver.tif: {expected} detections restored" in out
        assert "1 images restored." in out
        assert count(project) == expected


def test_only_the_detections_of_the_last_runs_are_kept(project: Path) -> None:
    with FilesBackend(project, writable=True) as opened:
        (entry,) = opened.entries
        files = [keep_detections(opened, entry) for _ in range(MOST_KEPT + 2)]
        assert [file.name for file in kept_detections(opened, entry)] == [
            file.name for file in files[-MOST_KEPT:] if file is not None
        ]


def test_without_replaced_detections_nothing_changes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make_project(tmp_path / "p", make_slide(tmp_path / "liver.tif", b"liver"))
    code, out, _ = invoke(capsys, "restore", folder, "--backend", "files")
    assert (code, out) == (0, "liver.tif: no replaced detections are kept.\n0 images restored.\n")
    code, _, err = invoke(capsys, "restore", folder, "--backend", "files", "--image-id", "7")
    assert code == 2
    assert "1 (liver.tif)" in err


def test_a_damaged_copy_is_reported_and_the_present_detections_stay(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with FilesBackend(project) as opened:
        (kept,) = kept_detections(opened, opened.entries[0])
    kept.write_bytes(kept.read_bytes()[:40])
    code, _, err = invoke(capsys, "restore", project, "--backend", "files")
    assert code == 3
    assert "is truncated or damaged" in err
    assert count(project) == 1


def test_every_copy_is_kept(project: Path) -> None:
    with FilesBackend(project, writable=True) as opened:
        (entry,) = opened.entries
        for _ in range(3):
            keep_detections(opened, entry)
            opened.write_detections(entry, Nuclei.from_polygons([shapely.box(1, 1, 3, 3)]))
        assert len(kept_detections(opened, entry)) == 4


def test_inspect_reports_files_of_another_slide(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_project(project, make_slide(project.parent / "spleen.tif", b"spleen"))
    code, _, err = invoke(capsys, "inspect", project, "--backend", "files")
    assert code == 0
    assert "was made from another slide (liver.tif" in err
