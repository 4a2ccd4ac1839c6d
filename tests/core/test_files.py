"""Files are written whole or not at all, and no link leads out of the work folder."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from cellgennet_qupath.core import files
from cellgennet_qupath.core.errors import ProjectError
from cellgennet_qupath.core.files import (
    confined,
    is_link,
    make_folder,
    refuse_links,
    remove_file,
    remove_open_parts,
    remove_tree,
    replacing,
)

links = pytest.mark.skipif(os.name == "nt", reason="links need a privilege on Windows")


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A folder of somebody else's, which must not change."""
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "precious.txt").write_text("kept", encoding="utf-8")
    return folder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "project" / "cellgennet"


def untouched(folder: Path) -> bool:
    return {path.name: path.read_text(encoding="utf-8") for path in folder.iterdir()} == {
        "precious.txt": "kept"
    }


def write(root: Path, path: Path) -> None:
    with replacing(path / "file.txt", root) as part:
        part.write_text("x", encoding="utf-8")


OPERATIONS: list[Callable[[Path, Path], object]] = [
    make_folder,
    remove_tree,
    write,
    lambda root, path: remove_file(root, path / "precious.txt"),
    lambda root, path: make_folder(root, path / "deeper" / "still"),
]


@links
@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("link", [".", "runs", "runs/segment-1", "detections"])
def test_no_operation_follows_a_link(
    root: Path, outside: Path, link: str, operation: Callable[[Path, Path], object]
) -> None:
    place = root / link
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(outside, target_is_directory=True)
    with pytest.raises(ProjectError, match="is a link") as raised:
        operation(root, root / "runs" / "segment-1" if link.startswith("runs") else place)
    assert str(place) in str(raised.value)
    assert "\n" not in str(raised.value)
    assert untouched(outside)


@links
def test_a_link_inside_a_folder_keeps_all_of_it(root: Path, outside: Path) -> None:
    run = make_folder(root, root / "runs" / "segment-1" / "7")
    (run / "task.json").write_text("{}", encoding="utf-8")
    (run / "tile_000001.parquet").symlink_to(outside / "precious.txt")
    with pytest.raises(ProjectError, match=r"tile_000001\.parquet: is a link"):
        remove_tree(root, root / "runs" / "segment-1")
    assert (run / "task.json").is_file()
    assert untouched(outside)


@links
def test_dangling_and_circular_links_are_links_too(root: Path) -> None:
    root.mkdir(parents=True)
    (root / "nowhere").symlink_to(root / "missing")
    (root / "circle").symlink_to(root / "circle")
    assert is_link(root / "nowhere")
    assert is_link(root / "circle")
    for name in ("nowhere", "circle"):
        with pytest.raises(ProjectError, match="is a link"):
            make_folder(root, root / name)


@links
def test_a_project_behind_a_link_is_fine(tmp_path: Path, root: Path) -> None:
    root.mkdir(parents=True)
    shortcut = tmp_path / "shortcut"
    shortcut.symlink_to(root.parent, target_is_directory=True)
    assert make_folder(shortcut / "cellgennet", shortcut / "cellgennet" / "runs").is_dir()


@pytest.mark.parametrize("tag", [0xA0000003, 0xA000000C])
def test_junctions_count_as_links(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tag: int) -> None:
    monkeypatch.setattr(Path, "lstat", lambda _: SimpleNamespace(st_mode=0o040755, st_reparse_tag=tag))
    assert is_link(tmp_path)


def test_files_kept_in_a_cloud_are_no_links(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(Path, "lstat", lambda _: SimpleNamespace(st_mode=0o100644, st_reparse_tag=0x9000001A))
    assert not is_link(tmp_path)


def test_paths_outside_are_refused(root: Path, tmp_path: Path) -> None:
    for path in (tmp_path, root / ".." / "data", root.with_name("cellgennet2")):
        with pytest.raises(ValueError):
            confined(root, path)


def test_what_does_not_exist_is_removed_already(root: Path) -> None:
    remove_tree(root, root / "runs")
    root.mkdir(parents=True)
    remove_file(root, root / "x")
    assert refuse_links(root / "runs") == []


def test_an_error_leaves_the_old_file_and_no_part(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text("old", encoding="utf-8")
    for error in (OSError(), KeyboardInterrupt(), MemoryError()):
        with pytest.raises(type(error)), replacing(file) as part:
            part.write_text("new", encoding="utf-8")
            raise error
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
    assert file.read_text(encoding="utf-8") == "old"


def test_a_process_that_ends_at_once_removes_its_parts(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), replacing(tmp_path / "a.txt") as part:
        part.write_text("half", encoding="utf-8")
        remove_open_parts()
        assert list(tmp_path.iterdir()) == []
    assert not files._open_parts


def test_parts_of_killed_runs_are_listed(root: Path) -> None:
    folder = make_folder(root, root / "runs" / "a")
    left = folder / ".tile_000001.parquet.0123abcd.part"
    for name in (left.name, "mine.part", ".hidden", ".x.0123abcd.partial"):
        (folder / name).write_text("", encoding="utf-8")
    assert refuse_links(root) == [left]
