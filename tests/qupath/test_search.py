"""Which files of a folder are images; what is passed over is named with the reason."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from cellgennet_qupath.core.errors import UsageError
from cellgennet_qupath.qupath.search import find_images, in_words

from ..projects import drawn_slide, write_project


def names(folder: Path, *places: Path) -> list[str]:
    found, _ = find_images(places or (folder,))
    return [image.path.resolve().relative_to(folder.resolve()).as_posix() for image in found]


def test_images_are_found_in_folders_within_folders_in_the_order_of_their_names(tmp_path: Path) -> None:
    for name in ("b.png", "a.PNG", "patient 2/a.png", "patient 1/é.jpg"):
        drawn_slide(tmp_path / name)
    found, passed = find_images([tmp_path])
    assert [image.path.name for image in found] == ["a.PNG", "b.png", "é.jpg", "a.png"]
    assert {image.size for image in found} == {(160, 160)}
    assert passed == []


def test_what_is_not_an_image_is_named_once_for_each_reason(tmp_path: Path) -> None:
    drawn_slide(tmp_path / "a.png")
    for number in range(7):
        (tmp_path / f"n{number}.txt").write_text("x", encoding="utf-8")
    (tmp_path / "cut.png").write_bytes((tmp_path / "a.png").read_bytes()[:60])
    (tmp_path / "empty.tif").write_bytes(b"")
    found, passed = find_images([tmp_path])
    assert [image.path.name for image in found] == ["a.png"]
    lines = in_words(passed)
    assert len(lines) == 3
    assert "Passed over: empty.tif (is empty)." in lines
    assert "Passed over: n0.txt, n1.txt, n2.txt, n3.txt, n4.txt and 2 more (not an image)." in lines
    assert any(line.startswith("Passed over: cut.png (") for line in lines)


def test_files_of_programs_are_not_images(tmp_path: Path) -> None:
    """Thumbnails of QuPath, hidden files, what this tool keeps, and the pixels beside an index of a slide."""
    slide = drawn_slide(tmp_path / "slides" / "a.png")
    write_project(tmp_path / "project", [slide])
    for name in (
        "project/data/1/thumbnail.jpg",
        "project/cellgennet/report/x.png",
        ".cache/y.png",
        "._a.png",
        "scan/Data0001.png",
        "_stack_/t.png",
    ):
        drawn_slide(tmp_path / name)
    for name in ("scan.mrxs", "stack.vsi"):
        (tmp_path / name).write_bytes(b"index")
    found, passed = find_images([tmp_path])
    assert [image.path for image in found] == [slide]
    assert [one.path.name for one in passed] == ["scan.mrxs", "stack.vsi"]


def test_an_image_named_twice_is_there_once(tmp_path: Path) -> None:
    slide = drawn_slide(tmp_path / "a.png")
    assert names(tmp_path, slide, tmp_path, slide) == ["a.png"]


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights on Windows")
def test_links_in_a_circle_end(tmp_path: Path) -> None:
    drawn_slide(tmp_path / "a.png")
    (tmp_path / "again").symlink_to(tmp_path)
    assert names(tmp_path) == ["a.png"]


def test_an_image_that_was_named_and_cannot_be_read_is_not_forgotten(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"no image")
    found, passed = find_images([tmp_path / "a.png"])
    assert [(image.path.name, image.size) for image in found] == [("a.png", None)]
    assert passed == []


def test_wrong_places_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x", encoding="utf-8")
    with pytest.raises(UsageError, match=r"no image was found \(notes.txt: not an image\)"):
        find_images([tmp_path])
    with pytest.raises(UsageError, match="does not exist"):
        find_images([tmp_path / "nowhere"])
    project = write_project(tmp_path / "p", [drawn_slide(tmp_path / "a.png")])
    with pytest.raises(UsageError, match="is a QuPath project"):
        find_images([tmp_path / "a.png", project])
