"""The shipped sample project: small, what its generator makes, and annotated as its truth says."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest
import shapely
from numpy.typing import NDArray

from cellgennet_qupath.geometry.raster import rasterize
from cellgennet_qupath.qupath.open import open_project
from cellgennet_qupath.qupath.project import Annotation
from cellgennet_qupath.slides.pixel_size import resolve_mpp
from cellgennet_qupath.slides.reader import open_slide, slide_size

ROOT = Path(__file__).resolve().parents[2]
NAMES = ["slide1_glands", "slide2_inflamed", "slide3_nests", "slide4_mixed"]
COUNTS: dict[str, dict[str, int]] = {
    "slide1_glands": {"Training": 2, "": 167, "Background": 1},
    "slide2_inflamed": {"Training": 1, "Validation": 1, "": 158, "Nucleus": 7},
    "slide3_nests": {"Training": 1, "": 52, "Ignore*": 1},
    "slide4_mixed": {},
}


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    """The generator's modules, which import each other by their bare names as a script's do."""
    folder = str(ROOT / "sample_projects")
    sys.path.insert(0, folder)
    try:
        import generate
    finally:
        sys.path.remove(folder)
    return generate


@pytest.fixture(scope="module")
def drawn(sample_project: Path) -> dict[str, list[Annotation]]:
    with open_project(sample_project, "files", size_of=slide_size) as project:
        return {entry.name.split(".")[0]: project.annotations(entry) for entry in project.entries}


def truth(sample_project: Path, name: str) -> NDArray[np.int32]:
    labels = cv2.imread(str(sample_project.parent / "truth" / f"{name}.png"), cv2.IMREAD_UNCHANGED)
    assert labels is not None and labels.dtype == np.uint16
    return labels.astype(np.int32)


def slide(sample_project: Path, name: str) -> NDArray[np.uint8]:
    with open_slide(sample_project / "slides" / f"{name}.ome.tif") as reader:
        return reader.read_grid(0, 0, reader.width, reader.height, 1.0)


def test_it_is_small() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "sample_projects"], cwd=ROOT, capture_output=True, check=False
    )
    files = [ROOT / name for name in listed.stdout.decode().split("\0") if name]
    if listed.returncode or not files:
        files = [p for p in (ROOT / "sample_projects").rglob("*") if p.is_file() and p.suffix != ".pyc"]
    assert len(files) > 20
    assert sum(file.stat().st_size for file in files) < 6_000_000


def test_it_names_no_path_of_the_machine_it_was_made_on(sample_project: Path) -> None:
    project = json.loads((sample_project / "project.qpproj").read_text(encoding="utf-8"))
    assert project["uri"] == "file:/quickstart/project.qpproj"
    for image in project["images"]:
        uri = image["serverBuilder"]["uri"]
        assert uri == f"file:/quickstart/slides/{image['imageName']}"
        data = (sample_project / "data" / str(image["entryID"]) / "data.qpdata").read_bytes()
        assert data.count(b"file:/") == data.count(uri.encode()) > 0


def test_the_project_is_read_as_it_was_drawn(sample_project: Path) -> None:
    with open_project(sample_project, "files", size_of=slide_size) as project:
        found = {entry.name.split(".")[0]: project.counts(entry).by_class for entry in project.entries}
        for entry in project.entries:
            assert entry.slide is not None and entry.slide.parent == sample_project / "slides"
            assert project.counts(entry).detections == 0
            with open_slide(entry.slide) as reader:
                assert entry.size == (reader.width, reader.height)
                assert reader.level_downsamples == (1.0, 2.0, 4.0)
                calibration = resolve_mpp(entry.mpp, reader.mpp, None)
                assert reader.mpp == pytest.approx(entry.mpp)
            assert calibration.mpp == (0.25 if "nests" in entry.name else 0.5)
            assert (sample_project / "data" / entry.id / "thumbnail.jpg").is_file()
    assert found == COUNTS


@pytest.mark.parametrize("name", NAMES[:3])
def test_every_outline_is_a_true_nucleus_and_none_is_missing(
    sample_project: Path, drawn: dict[str, list[Annotation]], name: str
) -> None:
    labels = truth(sample_project, name)
    nuclei = [a.geometry for a in drawn[name] if a.path_class in ("", "Nucleus")]
    raster = rasterize(nuclei, (labels.shape[0], labels.shape[1]))
    for number in range(1, len(nuclei) + 1):
        own = raster == number
        true = np.bincount(labels[own]).argmax()
        union = np.count_nonzero(own | (labels == true))
        assert true > 0 and np.count_nonzero(own & (labels == true)) / union > 0.9

    for region in (a for a in drawn[name] if a.path_class in ("Training", "Validation")):
        assert region.roi == "Rectangle" and region.locked
        x0, y0, x1, y1 = (int(v) for v in shapely.bounds(region.geometry))
        missed = (labels[y0:y1, x0:x1] > 0) & (raster[y0:y1, x0:x1] == 0)
        assert missed.mean() < 0.001


def test_the_background_holds_no_nucleus(sample_project: Path, drawn: dict[str, list[Annotation]]) -> None:
    labels = truth(sample_project, "slide1_glands")
    [background] = [a.geometry for a in drawn["slide1_glands"] if a.path_class == "Background"]
    inside = rasterize([background], (labels.shape[0], labels.shape[1])) > 0
    assert inside.sum() > 500 and (labels[inside] == 0).all()


def test_most_tissue_is_not_annotated(drawn: dict[str, list[Annotation]]) -> None:
    regions = [a.geometry for name in NAMES for a in drawn[name] if a.path_class == "Training"]
    assert shapely.area(regions).sum() < 0.1 * (3 * 1024**2 + 1536 * 1024)


def test_the_generator_is_deterministic(generator: ModuleType, tmp_path: Path) -> None:
    recipe = dataclasses.replace(generator.RECIPES[1], columns=192, rows=160, glands=1, vessels=1)
    written = []
    for folder in (tmp_path / "a", tmp_path / "b"):
        folder.mkdir()
        made, layout = generator.make_slide(recipe, folder, folder)
        assert len(layout.outlines) > 10
        written.append((made.read_bytes(), (folder / f"{recipe.name}.png").read_bytes()))
    assert written[0] == written[1]


@pytest.mark.slow
def test_the_generator_made_what_is_shipped(
    generator: ModuleType, sample_project: Path, tmp_path: Path
) -> None:
    """To within what another processor's rounding may change."""
    [recipe] = [r for r in generator.RECIPES if r.name == "slide4_mixed"]
    made, layout = generator.make_slide(recipe, tmp_path, tmp_path)
    shipped = truth(sample_project, recipe.name)
    assert len(np.unique(shipped)) - 1 == len(layout.outlines)
    again = cv2.imread(str(tmp_path / f"{recipe.name}.png"), cv2.IMREAD_UNCHANGED)
    assert np.mean(again != shipped) < 0.001
    with open_slide(made) as reader:
        pixels = reader.read_grid(0, 0, reader.width, reader.height, 1.0)
    assert np.abs(pixels.astype(int) - slide(sample_project, recipe.name)).mean() < 0.05


@pytest.mark.parametrize("name", NAMES)
def test_nuclei_look_like_nuclei(sample_project: Path, name: str) -> None:
    """Darker than what surrounds them, and mostly so in red, which hematoxylin takes away."""
    image, labels = slide(sample_project, name), truth(sample_project, name)
    inside = image[labels > 0].mean(axis=0)
    outside = image[labels == 0].mean(axis=0)
    assert (outside - inside)[0] > 40 and inside.argmin() == 1
    sizes = Counter(labels[labels > 0].tolist())
    assert min(sizes.values()) >= 12
