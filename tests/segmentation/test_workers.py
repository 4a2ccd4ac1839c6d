"""Tiles shared out among processes: the same nuclei, whoever does them and whoever is lost."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from distributed import Client

from cellgennet_qupath.core.errors import CellGenNetError, SlideError, UsageError
from cellgennet_qupath.geometry.grid import Tile
from cellgennet_qupath.segmentation.checkpoint import Checkpoint, TileFiles
from cellgennet_qupath.segmentation.plan import plan_tiles
from cellgennet_qupath.segmentation.slide import segment_slide
from cellgennet_qupath.segmentation.task import SlideTask
from cellgennet_qupath.segmentation.workers import (
    dask_workers,
    group_tiles,
    local_workers,
    segment_slide_distributed,
    segment_tiles,
)
from cellgennet_qupath.slides.normalisation import Normalisation
from cellgennet_qupath.slides.reader import SlideReader, open_slide

from .fakes import ColourReader, Disc, draw, everywhere, model
from .test_slide import as_rows


def pause(call: int) -> None:
    time.sleep(0.05)


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with local_workers(2) as found:
        yield found


@pytest.fixture
def plan(tmp_path: Path) -> Iterator[tuple[SlideTask, list[Tile]]]:
    generator = np.random.default_rng(1)
    discs: list[Disc] = [
        (generator.uniform(0, 700), generator.uniform(0, 500), generator.uniform(5, 13)) for _ in range(150)
    ]
    file = tmp_path / "slide.png"
    assert cv2.imwrite(str(file), draw(700, 500, discs)[..., ::-1])
    with open_slide(file) as reader:
        area = everywhere(700, 500)
        task = SlideTask(
            pixels=reader,
            model=model(ColourReader(before=pause)),
            normalisation=Normalisation(np.zeros(3), np.full(3, 255.0)),
            downsample=1.0,
            mpp=(0.25, 0.25),
            area=area,
        )
        yield task, plan_tiles(700, 500, 1.0, task.model, area, 128)


def test_two_processes_find_what_one_finds(
    client: Client, plan: tuple[SlideTask, list[Tile]], tmp_path: Path
) -> None:
    alone = segment_slide(*plan)
    assert len(alone.nuclei) > 60
    shared = segment_slide_distributed(client, *plan, Checkpoint(tmp_path / "run", {}))
    assert as_rows(shared) == as_rows(alone)
    assert shared.highest == alone.highest
    with dask_workers(client.scheduler.address) as other:
        assert as_rows(segment_slide_distributed(other, *plan, Checkpoint(tmp_path / "b", {}))) == as_rows(
            alone
        )


def test_a_killed_worker_costs_its_tiles_only(
    client: Client, plan: tuple[SlideTask, list[Tile]], tmp_path: Path
) -> None:
    store = Checkpoint(tmp_path / "run", {})
    victim = next(iter(client.run(os.getpid).values()))

    def kill_half_way() -> None:
        while len(list(store.folder.glob("tile_*"))) < len(plan[1]) // 2:
            time.sleep(0.01)
        os.kill(victim, signal.SIGTERM if os.name == "nt" else signal.SIGKILL)

    thread = threading.Thread(target=kill_half_way)
    thread.start()
    found = segment_slide_distributed(client, *plan, store)
    thread.join()
    assert as_rows(found) == as_rows(segment_slide(*plan))


def test_a_workers_error_comes_home_in_one_line(
    client: Client, plan: tuple[SlideTask, list[Tile]], tmp_path: Path
) -> None:
    task, tiles = plan
    assert isinstance(task.pixels, SlideReader)
    file = task.pixels.path
    file.unlink()
    with pytest.raises(SlideError, match=r"slide\.png"):
        segment_slide_distributed(client, task, tiles, Checkpoint(tmp_path / "run", {}))


def test_finished_tiles_are_left_alone(plan: tuple[SlideTask, list[Tile]], tmp_path: Path) -> None:
    task, tiles = plan
    done = segment_tiles(task, tiles[:4], tmp_path)
    assert done.device == "paper"
    assert all(tile.index in TileFiles(tmp_path) for tile in tiles[:4])
    assert segment_tiles(task, tiles[:4], tmp_path).nuclei == 0


def test_groups_share_all_tiles_out(plan: tuple[SlideTask, list[Tile]]) -> None:
    tiles = plan[1]
    for workers in (1, 2, 50):
        groups = group_tiles(tiles, workers)
        assert sorted(tile.index for group in groups for tile in group) == [tile.index for tile in tiles]
        assert len(groups) >= min(workers, len(tiles)) / 2
    assert group_tiles([], 2) == []


def test_no_scheduler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cellgennet_qupath.segmentation.workers._PATIENCE", "1s")
    with pytest.raises(UsageError, match="no scheduler"), dask_workers("tcp://127.0.0.1:9"):
        pass


def test_errors_travel() -> None:
    import pickle

    error = pickle.loads(pickle.dumps(SlideError("a.svs", "is torn", "Copy it again")))  # noqa: S301
    assert str(error) == "a.svs: is torn. Copy it again."
    assert isinstance(error, CellGenNetError)
