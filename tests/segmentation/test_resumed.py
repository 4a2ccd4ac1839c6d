"""Interrupted and damaged runs: what is whole is resumed, all else is done again."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import Any

import cv2
import pytest
import shapely

from cellgennet_qupath import __version__
from cellgennet_qupath.core.errors import Interrupted
from cellgennet_qupath.qupath.project import Annotation
from cellgennet_qupath.segmentation.assemble import TileNuclei
from cellgennet_qupath.segmentation.checkpoint import Checkpoint

from ..helpers import Recorder
from .fakes import ColourReader, draw, model
from .projects import DISCS, MemoryProject, outlines, picture, segment, stop_at


def test_an_interrupted_run_continues(project: MemoryProject, monkeypatch: pytest.MonkeyPatch) -> None:
    project.add("one", picture())
    project.add("two", picture())
    whole = ColourReader()
    segment(project, model(whole))
    expected = outlines(project.found["2"])

    with pytest.raises(Interrupted, match="1 of 2 images are done") as stopped:
        segment(project, model(stop_at(whole.calls - 2)), resume=False)
    assert stopped.value.exit_code == 130
    kept = {file.name for file in (project.work_folder / "runs").glob("*/2/tile_*.parquet")}
    assert kept

    stored: list[str] = []
    store = Checkpoint.__setitem__

    def noted(checkpoint: Checkpoint, index: int, tile: TileNuclei) -> None:
        stored.append(f"tile_{index:06d}.parquet")
        store(checkpoint, index, tile)

    monkeypatch.setattr(Checkpoint, "__setitem__", noted)
    project.writes.clear()
    first, _ = segment(project)
    assert stored
    assert kept.isdisjoint(stored)
    assert len(kept) + len(stored) == 4 * 3
    assert project.writes == ["2"]
    assert outlines(project.found["2"]) == expected
    assert (first.count, first.seconds) == (len(DISCS), 0)
    assert "in an earlier run" in first.sentence()
    assert list((project.work_folder / "runs").glob("*/*")) == []


def test_checkpoints_keep_their_names_and_keys(project: MemoryProject) -> None:
    """Those of older versions: an interrupted run must still resume after an update."""
    project.add("one", picture())
    project.add("two", picture())
    whole = ColourReader()
    segment(project, model(whole))
    with pytest.raises(Interrupted):
        segment(project, model(stop_at(whole.calls - 2)), resume=False)
    decisive = [__version__, "fake", "paper", None, 128, None]
    digest = hashlib.sha256(json.dumps(decisive).encode()).hexdigest()[:12]
    folder = project.work_folder / "runs" / f"segment-{digest}"
    task = json.loads((folder / "2/task.json").read_text())
    record = json.loads((project.work_folder / "segmented" / "1.json").read_text())
    assert list(task) == [
        "slide", "bytes", "modified", "digest", "series", "size", "mpp", "measured in", "stains",
        "downsample", "within", "ignored",
    ]  # fmt: skip
    assert list(record) == [
        "origin", "inputs", "model", "within", "count", "file", "note", "reason", "device", "checksum",
                "nuclei", "mm2", "current", "inside", "covered", "restored", "others", "sha256",
    ]  # fmt: skip
    assert list(record["inputs"]) == ["version", "backend", "model", "device", "image", "writing", "cells"]
    history = record["inputs"]["writing"]["history"]
    assert list(history) == ["checksum", "cellgennet_qupath", "computed on", "scale", "decoding"]
    assert {file.name for file in (folder / "2").iterdir()} >= {"task.json", "tile_000000.parquet"}


def test_restart_starts_again(project: MemoryProject) -> None:
    project.add("one", picture())
    with pytest.raises(Interrupted):
        segment(project, model(stop_at(3)))
    training = project.work_folder / "runs" / "train-1" / "state"
    training.mkdir(parents=True)
    again = ColourReader()
    segment(project, model(again), resume=False)
    assert again.calls > 3
    assert training.is_dir()
    whole = ColourReader()
    segment(project, model(whole), resume=False)
    assert again.calls == whole.calls


@pytest.mark.parametrize("what", ["slide", "model", "tile", "mpp", "within"])
def test_nothing_is_resumed_from_something_else(project: MemoryProject, what: str) -> None:
    entry = project.add("one", picture())
    project.drawn[entry.id] = [Annotation("a", shapely.box(0, 0, 440, 300), "Rectangle", "Tumor")]
    with pytest.raises(Interrupted):
        segment(project, model(stop_at(3)))
    options: dict[str, Any] = {}
    fake = model()
    if what == "slide":
        assert cv2.imwrite(str(entry.slide), draw(440, 300, DISCS[:-1])[..., ::-1])
    elif what == "model":
        fake = replace(fake, fingerprint="another")
    else:
        options = {what: {"tile": 64, "mpp": 0.26, "within": "Tumor"}[what]}
    segment(project, fake, **options)
    resumed = outlines(project.found["1"])
    assert isinstance(fake.predictor, ColourReader)
    calls = fake.predictor.calls
    predictor = ColourReader()
    segment(project, replace(fake, predictor=predictor), resume=False, **options)
    assert outlines(project.found["1"]) == resumed
    assert predictor.calls == calls


def test_only_what_failed_is_done_again(project: MemoryProject) -> None:
    project.add("good", picture())
    bad = project.add("bad", picture())
    assert bad.slide is not None
    content = bad.slide.read_bytes()
    bad.slide.write_bytes(b"")
    assert [r.status for r in segment(project)] == ["done", "failed"]
    bad.slide.write_bytes(content)
    project.writes.clear()
    assert [r.status for r in segment(project)] == ["done", "done"]
    assert project.writes == ["2"]


def test_detections_that_were_deleted_are_made_again(project: MemoryProject) -> None:
    project.add("good", picture())
    project.add("lost", None)
    segment(project)
    (project.work_folder / "1.written").unlink()
    project.writes.clear()
    segment(project)
    assert project.writes == ["1"]


@pytest.mark.parametrize("damage", ["cut", "one bit", "empty", "without its checksum"])
def test_damaged_tiles_are_done_again_and_reported(project: MemoryProject, damage: str) -> None:
    project.add("one", picture())
    segment(project)
    whole = outlines(project.found["1"])
    with pytest.raises(Interrupted):
        segment(project, model(stop_at(15)), resume=False)
    files = sorted((project.work_folder / "runs").glob("*/1/tile_*.parquet"))
    content = files[0].read_bytes()
    flipped = content[:200] + bytes([content[200] ^ 1]) + content[201:]
    damaged = {"cut": content[:60], "one bit": flipped, "empty": b"", "without its checksum": content[:-32]}
    files[0].write_bytes(damaged[damage])
    listener = Recorder()
    (result,) = segment(project, reporter=listener)
    assert (result.status, result.count) == ("done", len(DISCS))
    assert outlines(project.found["1"]) == whole
    (warning,) = listener.warnings
    assert "one: 1 tiles of an earlier run were damaged" in warning


def test_a_half_written_tile_counts_for_nothing(project: MemoryProject) -> None:
    project.add("one", picture())
    with pytest.raises(Interrupted):
        segment(project, model(stop_at(3)))
    folder = next((project.work_folder / "runs").glob("*/1"))
    (folder / ".tile_000004.parquet.1234.part").write_bytes(b"half")
    (result,) = segment(project)
    assert result.count == len(DISCS)
