"""A project's images one after the other: failures reported, interruptions resumed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import cv2
import numpy as np
import pytest
import shapely
from numpy.typing import NDArray

from cellgennet_qupath import __version__
from cellgennet_qupath.core.errors import Interrupted, UsageError
from cellgennet_qupath.core.progress import SILENT, Reporter
from cellgennet_qupath.nuclei import Nuclei, NucleiChunks, collect, empty
from cellgennet_qupath.qupath.project import (
    WRITE_DEFAULTS,
    Annotation,
    Core,
    DetectionChunk,
    ImageEntry,
    ObjectCounts,
    Project,
    StainVectors,
    Within,
    WriteOptions,
    WrittenDetections,
)
from cellgennet_qupath.segmentation.assemble import TileNuclei
from cellgennet_qupath.segmentation.batch import segment_project
from cellgennet_qupath.segmentation.checkpoint import Checkpoint
from cellgennet_qupath.segmentation.model import Model
from cellgennet_qupath.segmentation.options import SegmentOptions
from cellgennet_qupath.segmentation.result import ImageResult

from ..helpers import Recorder
from .fakes import ColourReader, draw, model

DISCS = [(float(x), float(y), 10.0) for x in range(40, 400, 60) for y in range(40, 260, 60)]


class MemoryProject:
    """A project whose detections are kept in memory."""

    backend = "memory"
    version = "0.7.0"

    def __init__(self, path: Path) -> None:
        self.path = path
        self.entries: Sequence[ImageEntry] = ()
        self.drawn: dict[str, list[Annotation]] = {}
        self.grid: dict[str, list[Core]] = {}
        self.found: dict[str, Nuclei] = {}
        self.writes: list[str] = []

    @property
    def work_folder(self) -> Path:
        return self.path / "cellgennet"

    def add(self, name: str, image: NDArray[np.uint8] | None) -> ImageEntry:
        file = self.path / f"{name}.png"
        if image is not None:
            assert cv2.imwrite(str(file), image[..., ::-1])
        size = None if image is None else (image.shape[1], image.shape[0])
        number = str(len(self.entries) + 1)
        entry = ImageEntry(
            number, name, file.as_uri(), file if image is not None else None, size, (0.25, 0.25)
        )
        self.entries = (*self.entries, entry)
        return entry

    def change(self, entry: ImageEntry, **changes: Any) -> None:
        self.entries = tuple(replace(e, **changes) if e is entry else e for e in self.entries)

    def annotations(self, entry: ImageEntry) -> list[Annotation]:
        return self.drawn.get(entry.id, [])

    def cores(self, entry: ImageEntry) -> list[Core]:
        return self.grid.get(entry.id, [])

    def counts(self, entry: ImageEntry) -> ObjectCounts:
        return ObjectCounts()

    def stains(self, entry: ImageEntry) -> StainVectors | None:
        return None

    def image_type(self, entry: ImageEntry) -> str:
        return ""

    def detections(self, entry: ImageEntry) -> Nuclei:
        return self.found.get(entry.id, empty())

    def detection_chunks(self, entry: ImageEntry) -> Iterator[DetectionChunk]:
        raise NotImplementedError

    def write_detections(
        self, entry: ImageEntry, nuclei: NucleiChunks, options: WriteOptions = WRITE_DEFAULTS
    ) -> WrittenDetections:
        self.found[entry.id] = collect(nuclei)
        self.options = options
        self.writes.append(entry.id)
        place = self.work_folder / f"{entry.id}.written"
        place.write_text(str(len(nuclei)), encoding="utf-8")
        return WrittenDetections(len(nuclei), place, "kept in memory")

    def checked_detections(self, entry: ImageEntry) -> Nuclei:
        return self.detections(entry)

    def write_suggestions(self, entry: ImageEntry, suggestions: object) -> NoReturn:
        raise NotImplementedError

    def close(self) -> None:
        return None

    def __enter__(self) -> Project:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


@pytest.fixture
def project(tmp_path: Path) -> MemoryProject:
    return MemoryProject(tmp_path)


def picture() -> NDArray[np.uint8]:
    return draw(440, 300, DISCS)


def segment(
    project: MemoryProject, fake: Model | None = None, *, reporter: Reporter = SILENT, **options: Any
) -> list[ImageResult]:
    chosen = SegmentOptions(**{"tile": 128, **options})
    return segment_project(project, fake or model(), chosen, reporter=reporter)


def stop_at(call: int) -> ColourReader:
    def before(number: int) -> None:
        if number == call:
            raise KeyboardInterrupt

    return ColourReader(before=before)


def outlines(nuclei: Nuclei) -> list[str]:
    return [outline.wkt for outline in nuclei.polygons]


def test_every_image_gets_its_nuclei(project: MemoryProject) -> None:
    for name in ("one", "two"):
        project.add(name, picture())
    results = segment(project)
    assert [(r.name, r.status, r.count) for r in results] == [
        ("one", "done", len(DISCS)),
        ("two", "done", len(DISCS)),
    ]
    assert set(project.found["1"].classes) == {"Nucleus"}
    assert project.found["1"].measurements["Area µm^2"].median() == pytest.approx(np.pi * 6.25, rel=0.1)
    assert f"{len(DISCS)} nuclei" in results[0].sentence()
    assert results[0].as_dict()["detections"] == len(DISCS)
    assert list((project.work_folder / "runs").glob("*")) == []


def test_one_bad_image_does_not_stop_the_others(project: MemoryProject) -> None:
    project.add("lost", None)
    project.add("torn", picture())
    file = project.path / "torn.png"
    file.write_bytes(file.read_bytes()[:500])
    project.change(project.add("other size", picture()), size=(880, 600))
    project.change(project.add("cut", picture()), altered="cropped")
    project.add("good", picture())
    listener = Recorder()
    results = segment(project, reporter=listener)
    assert [r.status for r in results] == ["failed"] * 4 + ["done"]
    assert project.writes == ["5"]
    assert "was not found" in results[0].reason
    assert "torn.png" in results[1].reason
    assert "880 x 600" in results[2].reason
    assert "shows it cropped" in results[3].reason
    assert len(listener.warnings) == 4
    assert all("\n" not in r.sentence() for r in results)


def test_a_fault_of_ours_is_one_line_too(project: MemoryProject) -> None:
    project.add("one", picture())

    def fail(number: int) -> None:
        raise RuntimeError("odd\nvalue")

    (result,) = segment(project, model(ColourReader(before=fail)))
    assert result.status == "failed"
    assert result.reason == "RuntimeError: odd value."


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        (np.full((300, 300, 3), 255, np.uint8), "no tissue"),
        (draw(300, 300, [(x, 100.0, 2.2) for x in range(20, 300, 12)]), "too small"),
    ],
)
def test_no_nuclei_have_a_reason(project: MemoryProject, image: NDArray[np.uint8], reason: str) -> None:
    project.add("bare", image)
    (result,) = segment(project, model(min_area_um2=20.0))
    assert (result.status, result.count) == ("done", 0)
    assert reason in result.reason
    assert result.reason in result.sentence()
    assert len(project.found["1"]) == 0


def test_a_foreground_below_the_threshold_is_reported(project: MemoryProject) -> None:
    project.add("faint", picture())
    (result,) = segment(project, model(ColourReader(strength=0.3)))
    assert result.count == 0
    assert "at most 0.30, 0.45 is needed" in result.reason


def test_a_pixel_size_of_no_microscope_is_suspected(project: MemoryProject) -> None:
    project.change(project.add("odd", picture()), mpp=(0.06, 0.06))
    (result,) = segment(project, model(ColourReader(strength=0.3)))
    assert (result.status, result.count) == ("done", 0)
    assert "pixel size is probably wrong (0.06 µm per pixel)" in result.reason


def test_an_impossible_pixel_size_gives_way_to_the_option_alone(project: MemoryProject) -> None:
    project.change(project.add("odd", picture()), mpp=(0.00025, 0.00025))
    (refused,) = segment(project)
    assert refused.status == "failed"
    assert "0.25 µm, entered in millimetres" in refused.reason
    assert "--mpp" in refused.reason
    listener = Recorder()
    (used,) = segment(project, reporter=listener, mpp=0.25)
    assert (used.status, used.count) == ("done", len(DISCS))
    assert listener.warnings == [line for line in listener.warnings if "odd: --mpp 0.25 replaces" in line]
    # Measured with the size that was used, not with the one in QuPath.
    assert project.found["1"].measurements["Area µm^2"].mean() == pytest.approx(np.pi * 6.25, rel=0.15)


def test_pixels_larger_than_a_nucleus_are_refused(project: MemoryProject) -> None:
    project.change(project.add("millimetres", picture()), mpp=(25.0, 25.0))
    (result,) = segment(project)
    assert result.status == "failed"
    assert "25 µm, larger than a nucleus" in result.reason


def test_within_a_class(project: MemoryProject) -> None:
    inside = project.add("inside", picture())
    project.add("without", picture())
    project.drawn[inside.id] = [
        Annotation("a", shapely.box(0, 0, 130, 300), "Rectangle", "Tumor"),
        Annotation("b", shapely.box(300, 0, 440, 300), "Rectangle", "Stroma"),
        Annotation("c", shapely.Point(200, 40), "Points", "Tumor"),
    ]
    first, second = segment(project, within="Tumor")
    assert first.count == sum(x < 130 for x, _, _ in DISCS)
    assert (second.status, project.writes) == ("skipped", [inside.id])
    assert "Tumor" in second.sentence()


def core(name: str, x: float, missing: bool = False) -> Core:
    return Core(f"id {name}", shapely.Point(x, 130).buffer(70), "Ellipse", name=name, missing=missing)


def in_circle(x: float) -> int:
    return sum((cx - x) ** 2 + (cy - 130) ** 2 < 70**2 for cx, cy, _ in DISCS)


@pytest.mark.parametrize(
    ("names", "circles"), [(["A-1"], [100]), (["A-1", "A-3"], [100, 340]), (["all"], [100, 340])]
)
def test_within_cores_of_a_tissue_microarray(
    project: MemoryProject, names: list[str], circles: list[int]
) -> None:
    one, two = project.add("tma", picture()), project.add("plain", picture())
    project.grid[one.id] = [core("A-1", 100), core("A-2", 220, missing=True), core("A-3", 340)]
    first, second = segment(project, cores=names)
    assert first.count == sum(in_circle(x) for x in circles) > 0
    assert project.options.within == Within(cores=tuple(names))
    assert (second.status, second.id) == ("skipped", two.id)
    assert "core" in second.reason


def test_cores_that_do_not_exist_or_are_missing(project: MemoryProject) -> None:
    one = project.add("tma", picture())
    with pytest.raises(UsageError, match=r"--core all: no image has the grid .*TMA dearrayer"):
        segment(project, cores=["all"])
    project.grid[one.id] = [core("A-1", 100), core("A-2", 220, missing=True)]
    with pytest.raises(UsageError, match=r"--core B-1: no core has this name.*A-1, A-2"):
        segment(project, cores=["B-1"])
    (result,) = segment(project, cores=["A-2"])
    assert result.status == "skipped"
    assert result.reason == "no core that is not missing and has the name A-2"


def test_within_annotations_chosen_by_their_ids(project: MemoryProject) -> None:
    entry = project.add("one", picture())
    boxes = [shapely.box(0, 0, 100, 300), shapely.box(200, 0, 300, 300), shapely.box(300, 0, 440, 300)]
    project.drawn[entry.id] = [
        Annotation(f"a{row}", box, "Rectangle", "Tumor" if row else "") for row, box in enumerate(boxes)
    ]
    (result,) = segment(project, within_ids=["a0", "a2"])
    assert result.count == sum(x <= 100 or x > 300 for x, _, _ in DISCS)
    (result,) = segment(project, within_ids=["a1"])  # not taken for the same run
    assert result.count == sum(200 < x < 300 for x, _, _ in DISCS)
    (result,) = segment(project, within_ids=["a9"])
    assert (result.status, result.reason) == ("skipped", "no closed annotation of the id a9")


def test_images_are_chosen_by_pattern(project: MemoryProject) -> None:
    for name in ("liver 1", "liver 2", "spleen"):
        project.add(name, picture())
    assert [r.name for r in segment(project, images=["liver*"])] == ["liver 1", "liver 2"]
    assert [r.name for r in segment(project, images=["spleen.png", "liver 1"])] == ["liver 1", "spleen"]
    with pytest.raises(UsageError, match=r"kidney.*liver 1, liver 2, spleen"):
        segment(project, images=["liver*", "kidney"])


def test_a_project_without_images(project: MemoryProject) -> None:
    with pytest.raises(UsageError, match="no images"):
        segment(project)


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
                "nuclei", "mm2", "current", "inside", "sha256",
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


def test_the_pixel_size_decides_the_scale(project: MemoryProject) -> None:
    small = cv2.resize(picture(), None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    project.change(project.add("coarse", np.asarray(small, np.uint8)), mpp=(0.5, 0.5))
    project.change(project.add("unknown", picture()), mpp=None)
    listener = Recorder()
    coarse, unknown = segment(project, reporter=listener)
    assert len(listener.warnings) == 1
    assert coarse.count == len(DISCS)
    assert shapely.area(project.found["1"].polygons).mean() == pytest.approx(np.pi * 25, rel=0.15)
    assert project.found["1"].measurements["Area µm^2"].mean() == pytest.approx(np.pi * 6.25, rel=0.15)
    assert unknown.status == "failed"
    assert "--mpp" in unknown.reason
    (known,) = segment(project, images=["unknown"], mpp=0.25)
    assert known.count == len(DISCS)
    (plain,) = segment(project, replace(model(), mpp=None), images=["unknown"])
    assert plain.count == len(DISCS)
    assert "Area px^2" in project.found["2"].measurements.columns


def test_a_slide_far_coarser_than_the_model_is_warned_of(project: MemoryProject) -> None:
    project.change(project.add("coarse", picture()[::4, ::4]), mpp=(1.0, 1.0))
    listener = Recorder()
    segment(project, reporter=listener)
    assert "much coarser" in listener.warnings[0]


def test_nuclei_become_cells_inside_their_annotation(project: MemoryProject) -> None:
    one = project.add("one", picture())
    frame = shapely.box(15, 15, 140, 140)
    project.drawn[one.id] = [Annotation("a", frame, "Rectangle", "Tumor")]
    (result,) = segment(project, cells=2.0, within="Tumor", existing="keep")
    assert result.status == "done"
    assert project.options.existing == "keep"
    assert project.options.within == Within("Tumor")
    assert project.options.history["cells"] == "2 µm"
    found = project.found[one.id]
    assert found.cells is not None
    grown = shapely.area(found.cells) - shapely.area(found.polygons)
    # by 8 pixels all around discs of radius 10
    assert 0.9 * np.pi * (18**2 - 10**2) < grown.max() < 1.1 * np.pi * (18**2 - 10**2)
    outside = shapely.difference(found.cells, shapely.union(frame, found.polygons))
    assert shapely.area(outside).max() < 1e-6


def test_cells_need_a_pixel_size(project: MemoryProject) -> None:
    one = project.add("one", picture())
    project.change(one, mpp=None)
    (result,) = segment(project, cells=2.0)
    assert result.status == "failed"
    assert "--mpp" in result.reason
