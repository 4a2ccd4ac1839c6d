"""Images without a project: ids and names stay, files of others stay, and it works like a project."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import shapely

from cellgennet_qupath.core.errors import LockedError, ProjectError
from cellgennet_qupath.nuclei import Nuclei
from cellgennet_qupath.qupath.image_list import is_loose, own_files
from cellgennet_qupath.qupath.loose import LooseImages, open_loose
from cellgennet_qupath.qupath.open import open_project
from cellgennet_qupath.qupath.replaced import keep_detections, restore_detections
from cellgennet_qupath.qupath.search import find_images

from ..helpers import Recorder
from ..projects import drawn_slide

SQUARES = Nuclei.from_polygons(
    [shapely.box(10, 10, 20, 20), shapely.box(40, 40, 52, 50)], np.array([0.9, 0.4], np.float32)
)


def opened(folder: Path, *places: Path, mpp: float | None = 0.5) -> LooseImages:
    found, _ = find_images(places, own_files(folder))
    return open_loose(found, folder, mpp)


def results(folder: Path) -> dict[str, str]:
    with LooseImages(folder) as loose:
        return {entry.name: loose.detections_file(entry).name for entry in loose.entries}


def test_images_of_one_name_have_results_of_their_own(tmp_path: Path) -> None:
    for name in ("a.png", "a.jpg", "one/a.png", "two/a.png", "deep/two/A.png"):
        drawn_slide(tmp_path / "slides" / name)
    opened(tmp_path / "out", tmp_path / "slides").close()
    files = results(tmp_path / "out")
    assert len(files) == 5
    assert len({name.casefold() for name in files.values()}) == 5
    assert files["a.jpg"] == "a.geojson"
    assert files["a.png"] == "a.png.geojson"
    assert files["one/a.png"] == "one_a.png.geojson"


@pytest.mark.parametrize("folders", [("1", "2", "3"), ("x/1", "y/1", "z/1")])
def test_no_image_has_a_file_of_nuclei_that_is_called_like_another_image(
    tmp_path: Path, folders: tuple[str, ...]
) -> None:
    for folder in folders:
        drawn_slide(tmp_path / "slides" / folder / "a.png")
    opened(tmp_path / "out", tmp_path / "slides").close()
    files = results(tmp_path / "out")
    assert len(files) == len(set(files.values())) == 3
    assert files["a.png"] == "a.geojson"
    assert "a.png.geojson" not in files.values()


def test_names_stay_when_images_are_added(tmp_path: Path) -> None:
    slides = tmp_path / "slides"
    first = drawn_slide(slides / "z" / "a.png")
    with opened(tmp_path / "out", first) as loose:
        loose.write_detections(loose.entries[0], SQUARES)
    drawn_slide(slides / "a" / "a.png", seed=1)
    with opened(tmp_path / "out", slides) as loose:
        assert [entry.name for entry in loose.entries] == ["a.png", "a/a.png"]
        assert loose.entries[0].slide == first
        assert list(loose.given) == ["2", "1"]
        assert [len(loose.detections(entry)) for entry in loose.entries] == [2, 0]


def test_the_folder_of_the_slides_can_take_the_results(tmp_path: Path) -> None:
    """A GeoJSON file of the user's, annotations exported beside the image, is neither read nor replaced."""
    drawn_slide(tmp_path / "a.png")
    theirs = tmp_path / "a.geojson"
    theirs.write_text('{"type": "FeatureCollection", "features": []}', encoding="utf-8")
    before = theirs.read_bytes()
    for _ in range(2):
        with opened(tmp_path, tmp_path) as loose:
            written = loose.write_detections(loose.entries[0], SQUARES)
    assert written.file.name == "a.png.geojson"
    assert theirs.read_bytes() == before
    assert find_images([tmp_path], own_files(tmp_path))[1][0].path == theirs


def test_a_table_of_others_is_not_replaced(tmp_path: Path) -> None:
    drawn_slide(tmp_path / "a.png")
    (tmp_path / "nuclei.csv").write_text("mine", encoding="utf-8")
    with pytest.raises(ProjectError, match=r"already contains another nuclei\.csv"):
        opened(tmp_path, tmp_path / "a.png")
    assert not is_loose(tmp_path)


def test_nuclei_of_an_image_that_was_replaced_are_not_its_own(tmp_path: Path) -> None:
    slide = drawn_slide(tmp_path / "a.png")
    with opened(tmp_path / "out", slide) as loose:
        loose.write_detections(loose.entries[0], SQUARES)
    drawn_slide(slide, seed=3)
    listener = Recorder()
    with LooseImages(tmp_path / "out", reporter=listener) as loose:
        assert len(loose.detections(loose.entries[0])) == 0
    (warning,) = listener.warnings
    assert warning.startswith("a.png: ")
    assert "was made from this slide's file before the file was changed, so it is not used" in warning
    with LooseImages(tmp_path / "out", writable=True, reporter=listener):
        assert len(listener.warnings) == 1, "the image is segmented again"


def test_it_opens_like_a_project_and_what_was_replaced_comes_back(tmp_path: Path) -> None:
    with opened(tmp_path / "out", drawn_slide(tmp_path / "a.png")) as loose:
        loose.write_detections(loose.entries[0], SQUARES)
    with open_project(tmp_path / "out", writable=True) as project:
        (entry,) = project.entries
        assert (entry.mpp, entry.size) == ((0.5, 0.5), (160, 160))
        before = project.detections(entry)
        assert keep_detections(project, entry) is not None
        project.write_detections(entry, before.take(np.array([True, False])))
        assert len(project.detections(entry)) == 1
        restored = restore_detections(project, entry)
        assert restored is not None
        assert restored.count == 2
        assert list(project.detections(entry).ids) == list(before.ids)


def test_two_runs_do_not_meet(tmp_path: Path) -> None:
    slide = drawn_slide(tmp_path / "a.png")
    with opened(tmp_path / "out", slide), pytest.raises(LockedError):
        opened(tmp_path / "out", slide)


@pytest.mark.parametrize("damage", ["", "[]", '{"format": 2}', "outside"])
def test_a_damaged_list_is_one_line(tmp_path: Path, damage: str) -> None:
    opened(tmp_path / "out", drawn_slide(tmp_path / "a.png")).close()
    file = tmp_path / "out" / "cellgennet" / "images.json"
    if damage == "outside":
        content = json.loads(file.read_text(encoding="utf-8"))
        content["images"][0]["result"] = "../a.geojson"
        damage = json.dumps(content)
    file.write_text(damage, encoding="utf-8")
    with pytest.raises(ProjectError, match="is damaged, or of another version"):
        LooseImages(tmp_path / "out")
    with pytest.raises(ProjectError, match="is damaged"), LooseImages(tmp_path / "out", writable=True):
        pass
