"""``project create``: a project of loose images that opens, with the nuclei found before there was one."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely

from cellgennet_qupath.nuclei import Nuclei
from cellgennet_qupath.qupath.files import FilesBackend
from cellgennet_qupath.qupath.loose import LooseImages, open_loose
from cellgennet_qupath.qupath.open import open_project
from cellgennet_qupath.qupath.search import find_images
from cellgennet_qupath.segmentation.record import read_record
from cellgennet_qupath.slides.reader import slide_size

from ..helpers import invoke
from ..projects import drawn_slide, write_project
from ..qupath.backends import needs_qupath

SQUARES = Nuclei.from_polygons(
    [shapely.box(10, 10, 20, 20), shapely.Point(60, 60).buffer(9)], np.array([0.9, 0.4], np.float32)
)


@pytest.fixture
def slides(tmp_path: Path) -> Path:
    folder = tmp_path / "my slides"
    for number, name in enumerate(("a.png", "b.png", "more/a.png")):
        drawn_slide(folder / name, seed=number, width=160 - 20 * number)
    return folder


@pytest.fixture
def results(slides: Path, tmp_path: Path) -> Path:
    """Results with two nuclei in each image but the last."""
    with open_loose(find_images([slides])[0], tmp_path / "results", 0.5) as loose:
        for entry in loose.entries[:2]:
            loose.write_detections(entry, SQUARES)
    return tmp_path / "results"


def made(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, dict[str, Any]]:
    code, out, _ = invoke(capsys, "project", "create", *arguments, "--json")
    document: dict[str, Any] = json.loads(out)
    return code, document


def test_a_project_of_a_folder(slides: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (slides / "broken.png").write_bytes(b"no image")
    code, document = made(capsys, slides, "-o", tmp_path / "P", "--backend", "files", "--mpp", 0.5)
    assert (code, document["nuclei"], document["failed"]) == (0, 0, [])
    assert document["images"] == ["a.png", "b.png", "more/a.png"]
    with FilesBackend(tmp_path / "P", size_of=slide_size) as project:
        assert [(e.id, e.mpp, e.slide) for e in project.entries] == [
            (str(n), (0.5, 0.5), slides / name) for n, name in enumerate(document["images"], start=1)
        ]
        assert [entry.size for entry in project.entries] == [(160, 160), (140, 160), (120, 160)]
        assert not any(entry.opened for entry in project.entries)


def test_results_become_a_project_with_their_nuclei(
    results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, document = made(capsys, results, "-o", tmp_path / "P", "--backend", "files")
    assert (code, len(document["images"]), document["nuclei"]) == (0, 3, 4)
    with FilesBackend(tmp_path / "P", size_of=slide_size) as project, LooseImages(results) as loose:
        for new, old in zip(project.entries, loose.entries, strict=True):
            assert (new.name, new.mpp) == (old.name, (0.5, 0.5))
            assert list(project.detections(new).ids) == list(loose.detections(old).ids)
        assert len(project.detections(project.entries[2])) == 0


def test_nuclei_can_come_from_another_folder(
    results: Path, slides: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, document = made(
        capsys, slides / "b.png", "-o", tmp_path / "P", "--nuclei", results, "--backend", "files"
    )
    assert (code, document["images"], document["nuclei"]) == (0, ["b.png"], 2)
    code, _, err = invoke(capsys, "project", "create", slides, "-o", tmp_path / "Q", "--nuclei", slides)
    assert (code, "does not hold results" in err) == (2, True)


def test_what_made_the_nuclei_stays_known(
    slides: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ("segment", slides / "a.png", "-o", tmp_path / "r", "--mpp", 0.4, "--threshold", 0.3)
    assert invoke(capsys, *line)[0] == 0
    assert made(capsys, tmp_path / "r", "-o", tmp_path / "P", "--backend", "files")[0] == 0
    with open_project(tmp_path / "P", "files", None, slide_size) as project:
        record = read_record(project, project.entries[0])
    assert record is not None
    assert record.model["name"] == "nuclei-he"
    assert record.model["rule"]["least_probability"] == 0.3
    assert record.path(project).is_file()


def test_no_project_is_made_over_something_else(
    slides: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    project = write_project(tmp_path / "p", [slides / "a.png"])
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("mine", encoding="utf-8")
    for folder, words in ((project, "is a QuPath project"), (tmp_path / "full", "is not empty")):
        code, _, err = invoke(capsys, "project", "create", slides, "-o", folder)
        assert code == 1
        assert words in err
    assert sorted(file.name for file in (tmp_path / "full").iterdir()) == ["thesis.txt"]
    code, _, err = invoke(capsys, "project", "create", tmp_path / "full", "-o", tmp_path / "P")
    assert (code, "no image was found" in err) == (2, True)
    assert not (tmp_path / "P").exists()


def test_an_image_that_is_gone_is_left_out_and_named(
    results: Path, slides: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (slides / "a.png").unlink()
    code, document = made(capsys, results, "-o", tmp_path / "P", "--backend", "files")
    assert (code, document["images"]) == (3, ["b.png", "more/a.png"])
    assert document["failed"] == ["a.png: cannot be opened."]


@pytest.mark.qupath
@pytest.mark.slow
def test_ten_pictures_and_a_slide_open_in_qupath_with_their_nuclei(
    shared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Read back by paquo alone: pixels of the right size, pixel sizes, image types, and every nucleus."""
    needs_qupath()
    folder = tmp_path / "slides"
    folder.mkdir()
    pictures = sorted((shared / "data" / "nuclei" / "tnbc" / "images").glob("*.png"))[:10]
    for file in [*pictures, shared / "qupath" / "slides" / "CMU-1-Small-Region.svs"]:
        shutil.copy(file, folder)
    code, out, _ = invoke(capsys, "segment", folder, "-o", tmp_path / "r", "--mpp", 0.25, "--json")
    found = {image["name"]: image["detections"] for image in json.loads(out)["images"]}
    assert (code, len(found)) == (0, 11)
    assert min(found.values()) > 0
    assert (tmp_path / "r" / "nuclei.csv").is_file()
    assert (tmp_path / "r" / "segment.html").is_file()
    code, document = made(capsys, tmp_path / "r", "-o", tmp_path / "P", "--backend", "qupath")
    assert (code, document["backend"], document["nuclei"]) == (0, "qupath", sum(found.values()))
    in_qupath = {}
    from paquo.projects import QuPathProject

    for entry in QuPathProject(tmp_path / "P" / "project.qpproj", mode="r").java_object.getImageList():
        data = entry.readImageData()
        name = str(entry.getImageName())
        in_qupath[name] = int(data.getHierarchy().getDetectionObjects().size())
        assert str(data.getImageType()) == "Brightfield (H&E)"
        server = data.getServer()
        size = slide_size(folder / name)
        assert (int(server.getWidth()), int(server.getHeight())) == size
        mpp = float(server.getPixelCalibration().getAveragedPixelSizeMicrons())
        assert mpp == pytest.approx(0.499 if name.endswith(".svs") else 0.25)
        steps = [str(step.getName()) for step in data.getHistoryWorkflow().getSteps()]
        assert "CellGenNet" in steps
        server.close()
    assert in_qupath == found
