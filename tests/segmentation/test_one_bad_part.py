"""Whatever fails while one image is segmented, the others are done, and its reason is one line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cellgennet_qupath.qupath.project import ImageEntry
from cellgennet_qupath.segmentation import image as segment_image_module
from cellgennet_qupath.segmentation import slide as segment_slide_module

from .projects import MemoryProject, picture, segment

STEPS = {
    "opening": (segment_image_module, "open_image"),
    "preparing": (segment_image_module, "prepare"),
    "tissue": (segment_image_module, "tissue_mask"),
    "decoding": (segment_slide_module, "decode_levels"),
    "outlines": (segment_slide_module, "label_polygons"),
    "assembling": (segment_slide_module, "assemble"),
}


@pytest.fixture
def project(tmp_path: Path) -> MemoryProject:
    made = MemoryProject(tmp_path)
    for name in ("one", "two", "three"):
        made.add(name, picture())
    return made


def failing_for_the_second(real: Callable[..., Any], error: BaseException, calls: list[str]) -> Any:
    def step(*arguments: Any, **options: Any) -> Any:
        if calls == ["two"]:
            raise error
        return real(*arguments, **options)

    return step


@pytest.mark.parametrize("error", [MemoryError(), OSError(5, "Input/output error"), RecursionError("deep")])
@pytest.mark.parametrize("step", list(STEPS))
def test_the_other_images_are_done(
    project: MemoryProject, monkeypatch: pytest.MonkeyPatch, step: str, error: BaseException
) -> None:
    current: list[str] = []
    module, name = STEPS[step]
    monkeypatch.setattr(module, name, failing_for_the_second(getattr(module, name), error, current))
    real = segment_image_module.segment_image

    def noted(run: Any, entry: ImageEntry, *rest: Any) -> Any:
        current[:] = [entry.name]
        return real(run, entry, *rest)

    monkeypatch.setattr("cellgennet_qupath.segmentation.batch.segment_image", noted)
    results = segment(project)
    assert [result.status for result in results] == ["done", "failed", "done"]
    assert results[1].reason
    assert "\n" not in results[1].sentence()
    assert project.writes == ["1", "3"]


@pytest.mark.parametrize(
    "error", [MemoryError(), PermissionError(13, "Permission denied"), ValueError("odd")]
)
def test_a_failure_to_write_stops_no_other_image(
    project: MemoryProject, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    real = project.write_detections

    def write(entry: ImageEntry, *rest: Any, **options: Any) -> Any:
        if entry.name == "two":
            raise error
        return real(entry, *rest, **options)

    monkeypatch.setattr(project, "write_detections", write)
    results = segment(project)
    assert [result.status for result in results] == ["done", "failed", "done"]
    assert "\n" not in results[1].sentence()
