"""Evaluation regions from folders and projects, and the messages about unusable ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import shapely
import tifffile
from numpy.typing import NDArray

from cellgennet_qupath.core.config import ClassNames
from cellgennet_qupath.core.errors import SupervisionError, UsageError
from cellgennet_qupath.evaluation.label_images import read_labels
from cellgennet_qupath.evaluation.regions import folder_regions, project_regions
from cellgennet_qupath.evaluation.result_files import find_result
from cellgennet_qupath.qupath.project import Annotation, ImageEntry, ObjectCounts
from tests.helpers import Recorder, annotation

Writer = Callable[[Path, int], Path]


def test_a_folder_of_images_and_labels(tmp_path: Path, labelled_folder: Writer) -> None:
    folder = labelled_folder(tmp_path / "d ö", 2)
    regions = folder_regions(folder, mpp=0.25)
    assert [f.name for f in regions] == ["field 0", "field 1"]
    assert {f.mpp for f in regions} == {0.25}
    true, unknown = regions[1].truth()
    assert unknown is None
    assert true.dtype == np.int32
    assert regions[1].pixels().shape == (160, 160, 3)
    assert regions[1].pixels()[true > 0].mean() < regions[1].pixels()[true == 0].mean() - 50


def test_several_sets_and_a_manifest(tmp_path: Path, labelled_folder: Writer) -> None:
    labelled_folder(tmp_path / "a", 2)
    labelled_folder(tmp_path / "deep" / "b", 2)
    assert {f.group for f in folder_regions(tmp_path)} == {"a", "deep/b"}
    rows = ["dataset,file,split,organ", "a,field 0.png,test,liver", "a,field 1.png,train,liver"]
    (tmp_path / "manifest.csv").write_text("\n".join([*rows, "b,field 1.png,test,lung"]), encoding="utf-8")
    chosen = folder_regions(tmp_path, split="test", group_by="organ")
    assert [(f.name, f.group) for f in chosen] == [("a/field 0", "liver"), ("deep/b/field 1", "lung")]
    with pytest.raises(UsageError, match="no column `patient`"):
        folder_regions(tmp_path, group_by="patient")
    with pytest.raises(SupervisionError, match="of split nowhere"):
        folder_regions(tmp_path, split="nowhere")
    (tmp_path / "manifest.csv").unlink()
    with pytest.raises(UsageError, match="is missing"):
        folder_regions(tmp_path, split="test")


def test_images_without_usable_labels_are_reported(tmp_path: Path, labelled_folder: Writer) -> None:
    folder = labelled_folder(tmp_path, 3)
    (folder / "labels" / "field 0.png").unlink()
    cv2.imwrite(str(folder / "labels" / "field 1.png"), np.zeros((9, 9), np.uint16))
    listener = Recorder()
    regions = folder_regions(folder, reporter=listener)
    assert len(regions) == 2
    assert "field 0.png: no label image" in listener.warnings[0]
    with pytest.raises(SupervisionError, match=r"differs in size from field 1\.png"):
        regions[0].truth()
    with pytest.raises(SupervisionError, match="a folder with images/ and labels/"):
        folder_regions(folder / "images")


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint32, np.int32])
def test_label_images_of_every_type(tmp_path: Path, dtype: type) -> None:
    labels: NDArray[np.integer] = np.arange(12, dtype=dtype).reshape(3, 4)
    tifffile.imwrite(tmp_path / "l.tif", labels)
    assert (read_labels(tmp_path / "l.tif") == labels).all()


def test_a_file_that_is_not_a_label_image_is_refused(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "rgb.png"), np.zeros((4, 4, 3), np.uint8))
    (tmp_path / "cut.png").write_bytes(b"\x89PNG")
    tifffile.imwrite(tmp_path / "float.tif", np.full((4, 4), 0.5, np.float32))
    for name in ("rgb.png", "float.tif", "cut.png"):
        with pytest.raises(SupervisionError, match=name):
            read_labels(tmp_path / name)


@dataclass
class Project:
    """The part of a project that is needed."""

    path: Path
    drawn: dict[str, list[Annotation]]
    entries: list[ImageEntry] = field(default_factory=list)

    def annotations(self, entry: ImageEntry) -> list[Annotation]:
        return self.drawn[entry.id]

    def image_type(self, entry: ImageEntry) -> str:
        return ""

    def counts(self, entry: ImageEntry) -> ObjectCounts:
        return ObjectCounts(annotations=len(self.drawn[entry.id]))


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A slide with two validation regions, one inside a tumour and partly in a training region."""
    cv2.imwrite(str(tmp_path / "1.png"), np.full((400, 500, 3), 200, np.uint8))
    project = Project(tmp_path, {})
    slide = tmp_path / "1.png"
    project.entries.append(ImageEntry("1", "slide 1", slide.as_uri(), slide, (500, 400), (0.5, 0.5)))
    project.drawn["1"] = [
        annotation(shapely.box(0, 0, 90, 80), "Validation"),
        annotation(shapely.Point(30, 30).buffer(9)),
        annotation(shapely.Point(88, 60).buffer(9)),
        annotation(shapely.box(300, 200, 400, 300), "Validation"),
        annotation(shapely.Point(340, 240).buffer(9)),
        annotation(shapely.box(390, 290, 450, 350), "Training"),
        annotation(shapely.box(250, 150, 480, 380), "Tumour"),
        annotation(shapely.box(200, 100, 499, 399), "Section"),
    ]
    return project


def test_windows_around_validation_regions(project: Project) -> None:
    first, second = project_regions(project, ClassNames())  # type: ignore[arg-type]
    assert (first.name, second.name, first.image) == ("slide 1 #1", "slide 1 #2", "slide 1")
    assert (first.box.x0, first.box.y0, first.box.columns, first.box.rows) == (0, 0, 122, 112)
    assert (first.group, second.group) == ("", "Tumour")
    assert (first.overlaps_training, second.overlaps_training) == (False, True)
    true, unknown = first.truth()
    assert unknown is not None
    assert sorted(np.unique(true)) == [0, 1], "the nucleus on the border is unknown, not an object"
    assert unknown[100, 10]
    assert unknown[60, 85]
    assert not unknown[30, 30]
    assert abs((true > 0).sum() - np.pi * 81) < 10


def test_images_of_one_name_are_evaluated_each(project: Project, tmp_path: Path) -> None:
    (first,) = project.entries
    other = tmp_path / "2.png"
    assert cv2.imwrite(str(other), np.full((400, 500, 3), 200, np.uint8))
    project.entries.append(replace(first, id="2", slide=other, uri=other.as_uri()))
    project.entries.append(replace(first, id="3", name="slide 1 (id 2) #1"))
    project.drawn |= {"2": project.drawn["1"], "3": project.drawn["1"][:3]}
    regions = project_regions(project, ClassNames())  # type: ignore[arg-type]
    assert [region.name for region in regions] == [
        "slide 1 (id 1) #1",
        "slide 1 (id 1) #2",
        "slide 1 (id 2) #1 (id 2)",
        "slide 1 (id 2) #2",
        "slide 1 (id 2) #1 (id 3)",
    ]
    assert len({region.image for region in regions}) == 3
    # Results of other tools are found by what only one of the images has.
    (tmp_path / "r").mkdir()
    for name in ("1", "2", "slide 1 (id 2) #1"):
        (tmp_path / "r" / f"{name}.geojson").write_text("[]", encoding="utf-8")
    found = [find_result(tmp_path / "r", region) for region in regions]
    assert [one and one.path.stem for one in found] == ["1", "1", "2", "2", "slide 1 (id 2) #1"]


def test_a_project_without_validation_regions(project: Project) -> None:
    project.drawn["1"] = project.drawn["1"][5:]
    with pytest.raises(SupervisionError, match="no usable region of class Validation"):
        project_regions(project, ClassNames())  # type: ignore[arg-type]


def test_an_unreadable_image_is_skipped(project: Project) -> None:
    broken = project.path / "2.png"
    broken.write_bytes(b"nothing")
    project.entries.append(ImageEntry("2", "slide 2", broken.as_uri(), broken, None, None))
    project.entries.append(ImageEntry("3", "slide 3", "gone.svs", None, None, None))
    project.drawn |= {"2": project.drawn["1"], "3": project.drawn["1"]}
    listener = Recorder()
    assert len(project_regions(project, ClassNames(), reporter=listener)) == 2  # type: ignore[arg-type]
    skipped = [line for line in listener.warnings if line.startswith("Skipped")]
    assert len(skipped) == 2
    assert "--slides" in skipped[1]
