"""One log per run, for quality records: who, when, model, scale, choices, what became of each image."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import yaml
import zarr

from cellgennet_qupath.bundle import INTENDED_USE
from cellgennet_qupath.core.errors import Interrupted

from ..helpers import Recorder
from .fakes import model
from .projects import MemoryProject, picture, segment, stop_at


def logs(project: MemoryProject) -> list[dict[str, Any]]:
    files = sorted((project.work_folder / "logs").glob("segment-*.yaml"))
    return [yaml.safe_load(file.read_text(encoding="utf-8")) for file in files]


def test_every_run_has_a_log_of_its_own(tmp_path: Path) -> None:
    project = MemoryProject(tmp_path)
    project.add("a", picture())
    project.add("lost", None)
    fake = replace(model(), learnt_from="H&E, 40x, human")
    first = segment(project, fake, threshold=0.5)
    segment(project, fake, threshold=0.5)
    one, two = logs(project)
    assert one["settings"]["threshold"] == "0.5"
    assert one["settings"]["scale"] == "0.25 µm per pixel"
    assert one["settings"]["checksum"] == "sha256:fake"
    assert (one["learnt from"], one["intended use"]) == ("H&E, 40x, human", INTENDED_USE)
    assert one["images"] == {"done": 1, "skipped": 0, "failed": 1}
    assert list(one["failed"]) == ["lost"]
    assert one["results"][0] | {"mm2": 0} == {
        "image": "a", "id": first[0].id, "status": "done", "nuclei": first[0].count, "mm2": 0,
        "computed": "in this run",
    }  # fmt: skip
    assert two["results"][0]["computed"] == "in an earlier run"
    assert one["begun"] <= one["ended"] <= two["begun"]
    assert {"user", "computer", "command", "version"} <= set(one)
    assert one["outcome"] == "finished"


def test_an_interrupted_run_is_logged_too(tmp_path: Path) -> None:
    project = MemoryProject(tmp_path)
    project.add("a", picture())
    project.add("b", picture())
    segment(project, images=["a"])
    with pytest.raises(Interrupted):
        segment(project, replace(model(), predictor=stop_at(0)))
    last = logs(project)[-1]
    assert last["outcome"] == "interrupted"
    assert [line["image"] for line in last["results"]] == ["a"]


def test_a_log_that_cannot_be_written_costs_no_result(tmp_path: Path) -> None:
    project = MemoryProject(tmp_path)
    project.add("a", picture())
    (project.work_folder).mkdir()
    (project.work_folder / "logs").write_text("in the way", encoding="utf-8")
    listener = Recorder()
    (result,) = segment(project, reporter=listener)
    assert result.status == "done"
    assert any(line.startswith("No log of this run was written") for line in listener.warnings)


def test_what_is_odd_about_a_slide_is_in_the_log_of_the_run(tmp_path: Path) -> None:
    project = MemoryProject(tmp_path)
    entry = project.add("stack", None)
    planes = np.stack([picture(), picture()])
    file = project.path / "stack.ome.tif"
    tifffile.imwrite(file, planes, photometric="rgb", metadata={"axes": "ZYXS"})
    project.change(entry, slide=file, size=planes.shape[2:0:-1])
    (result,) = segment(project)
    sentence = "is a stack of 2 planes, of which the first is read (z = 0, t = 0)."
    assert result.findings[0] == sentence
    assert logs(project)[-1]["results"][0]["findings"] == list(result.findings)


@pytest.mark.parametrize("chunks", ["lost", "come back"])
def test_an_image_is_segmented_again_when_chunks_go_or_come(tmp_path: Path, chunks: str) -> None:
    project = MemoryProject(tmp_path)
    entry, image = project.add("slide", None), picture()
    path = project.path / "slide.ome.zarr"
    group = zarr.open_group(path, mode="w", zarr_format=3)
    group.create_array("0", data=image, chunks=(64, 64, 3))
    scales = {"axes": [{"name": axis} for axis in "yxc"], "datasets": [{"path": "0"}]}
    group.attrs["ome"] = {"version": "0.5", "multiscales": [scales]}
    project.change(entry, slide=path, size=(image.shape[1], image.shape[0]))
    chunk, kept = path / "0" / "c" / "0" / "0" / "0", tmp_path / "kept"
    before, after = (kept, chunk) if chunks == "come back" else (chunk, kept)
    if before != chunk:
        chunk.rename(before)
    first = segment(project)[0]
    before.rename(after)
    second = segment(project)[0]
    assert (first.note, second.note) == ("", second.note) and second.note != "unchanged"
    lacking = first if chunks == "come back" else second
    assert any("lacks 1 of the" in sentence for sentence in lacking.findings)
    assert segment(project)[0].note == "unchanged"
