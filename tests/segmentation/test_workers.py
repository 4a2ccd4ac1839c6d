"""Tiles shared out among processes: the same nuclei, whoever does them and whoever is lost."""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import cv2
import distributed
import numpy as np
import pytest

from cellgennet_qupath.core.errors import CellGenNetError, SlideError, UsageError
from cellgennet_qupath.geometry.grid import Tile
from cellgennet_qupath.segmentation import cluster
from cellgennet_qupath.segmentation import workers as segmentation_workers
from cellgennet_qupath.segmentation.checkpoint import Checkpoint, TileFiles
from cellgennet_qupath.segmentation.cluster import DaskWorkers, dask_workers
from cellgennet_qupath.segmentation.plan import plan_tiles
from cellgennet_qupath.segmentation.slide import segment_slide
from cellgennet_qupath.segmentation.task import SlideTask
from cellgennet_qupath.segmentation.workers import (
    LocalWorkers,
    group_tiles,
    local_workers,
    segment_slide_distributed,
    segment_tiles,
)
from cellgennet_qupath.slides.normalisation import Normalisation
from cellgennet_qupath.slides.reader import SlideReader, open_slide

from ..helpers import Recorder
from .fakes import ColourReader, Disc, draw, everywhere, model
from .test_slide import as_rows


def pause(call: int) -> None:
    time.sleep(0.05)


def fail_in_a_worker(call: int) -> None:
    if multiprocessing.parent_process() is not None:
        raise MemoryError("too little")


def die_in_a_worker(call: int) -> None:
    if multiprocessing.parent_process() is not None:
        os._exit(9)


@pytest.fixture(scope="module")
def local() -> Iterator[LocalWorkers]:
    with local_workers(2) as workers:
        yield workers


@pytest.fixture(scope="module")
def scheduler() -> Iterator[distributed.LocalCluster]:
    with distributed.LocalCluster(
        # Without an address the port is always 8787, which another run may hold.
        n_workers=1,
        threads_per_worker=1,
        processes=True,
        dashboard_address="127.0.0.1:0",
        memory_limit=None,
    ) as found:
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


def network_sockets(process: int) -> set[str]:
    """The TCP and UDP sockets of a process, as Linux numbers them."""
    known: set[str] = set()
    for table in ("tcp", "tcp6", "udp", "udp6"):
        with suppress(OSError):
            lines = Path(f"/proc/{process}/net/{table}").read_text(encoding="utf-8").splitlines()[1:]
            known.update(line.split()[9] for line in lines)
    found: set[str] = set()
    with suppress(OSError):
        for file in Path(f"/proc/{process}/fd").iterdir():
            with suppress(OSError):
                found.add(str(file.readlink()).removeprefix("socket:[").removesuffix("]"))
    return found & known


def with_network(task: SlideTask, before: Callable[[int], None]) -> SlideTask:
    return replace(task, model=model(ColourReader(before=before)))


def test_two_processes_find_what_one_finds_and_open_no_port(
    local: LocalWorkers, plan: tuple[SlideTask, list[Tile]], tmp_path: Path
) -> None:
    alone = segment_slide(*plan)
    assert len(alone.nuclei) > 60
    store = Checkpoint(tmp_path / "run", {})
    sockets: set[str] = set()
    stop = threading.Event()

    def watch() -> None:
        while not stop.wait(0.05):
            for process in local.processes:
                sockets.update(network_sockets(process))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        shared = segment_slide_distributed(local, *plan, store)
    finally:
        stop.set()
        thread.join()
    assert as_rows(shared) == as_rows(alone)
    assert shared.highest == alone.highest
    assert len(local.processes) == 2
    assert sockets == set()


def test_this_process_opens_no_port_either(
    plan: tuple[SlideTask, list[Tile]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        pytest.fail("a port is opened")

    monkeypatch.setattr(socket.socket, "bind", refuse)
    monkeypatch.setattr(socket.socket, "listen", refuse)
    with local_workers(1) as workers:
        segment_slide_distributed(workers, plan[0], plan[1][:2], Checkpoint(tmp_path / "run", {}))


def test_the_workers_of_a_scheduler_find_the_same(
    scheduler: distributed.LocalCluster, plan: tuple[SlideTask, list[Tile]], tmp_path: Path
) -> None:
    with dask_workers(scheduler.scheduler_address) as workers:
        shared = segment_slide_distributed(workers, *plan, Checkpoint(tmp_path / "run", {}))
    assert as_rows(shared) == as_rows(segment_slide(*plan))


def test_a_killed_worker_costs_its_tiles_only(
    local: LocalWorkers, plan: tuple[SlideTask, list[Tile]], tmp_path: Path
) -> None:
    store = Checkpoint(tmp_path / "run", {})

    def kill_half_way() -> None:
        while len(list(store.folder.glob("tile_*"))) < len(plan[1]) // 2:
            time.sleep(0.01)
        os.kill(local.processes[0], signal.SIGTERM if os.name == "nt" else signal.SIGKILL)

    thread = threading.Thread(target=kill_half_way)
    thread.start()
    found = segment_slide_distributed(local, *plan, store)
    thread.join()
    assert as_rows(found) == as_rows(segment_slide(*plan))


def test_a_workers_error_comes_home_in_one_line_and_the_next_slide_is_done(
    local: LocalWorkers,
    plan: tuple[SlideTask, list[Tile]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    task, tiles = plan
    monkeypatch.setattr(segmentation_workers, "MOST_LOSSES", 1)
    for error, before in ((MemoryError, fail_in_a_worker), (CellGenNetError, die_in_a_worker)):
        folder = Checkpoint(tmp_path / error.__name__, {})
        with pytest.raises(error):
            segment_slide_distributed(local, with_network(task, before), tiles[:1], folder)
        assert not list(folder.folder.glob(".*"))
    found = segment_slide_distributed(local, task, tiles[:4], Checkpoint(tmp_path / "next", {}))
    assert as_rows(found) == as_rows(segment_slide(task, tiles[:4]))
    assert isinstance(task.pixels, SlideReader)
    task.pixels.path.unlink()
    with pytest.raises(SlideError, match=r"slide\.png"):
        segment_slide_distributed(local, replace(task), tiles, Checkpoint(tmp_path / "gone", {}))


def test_after_an_interruption_no_worker_goes_on_and_no_part_is_left(
    plan: tuple[SlideTask, list[Tile]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Checkpoint(tmp_path / "run", {})
    with local_workers(2) as workers:
        real = workers._outcomes

        def interrupted() -> object:
            (store.folder / ".tile_000099.parquet.0a1b2c3d.part").write_bytes(b"half")
            raise KeyboardInterrupt

        monkeypatch.setattr(workers, "_outcomes", interrupted)
        with pytest.raises(KeyboardInterrupt):
            segment_slide_distributed(workers, *plan, store)
        assert workers.processes == []
        assert not list(store.folder.glob("*.part"))
        monkeypatch.setattr(workers, "_outcomes", real)
        assert as_rows(segment_slide_distributed(workers, *plan, store)) == as_rows(segment_slide(*plan))


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
    monkeypatch.setattr(cluster, "_PATIENCE", 1.0)
    with pytest.raises(UsageError, match="no scheduler"), dask_workers("tcp://127.0.0.1:9"):
        pass


def test_a_scheduler_that_never_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "_PATIENCE", 1.0)
    begin = time.monotonic()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = "tcp://{}:{}".format(*silent.getsockname())
        with pytest.raises(UsageError, match="no scheduler") as raised, dask_workers(address):
            pass
    assert "\n" not in str(raised.value)
    assert time.monotonic() - begin < 20


class FakeClient:
    """A client whose scheduler has no workers, or does not answer."""

    def __init__(self, answer: object) -> None:
        self._answer = answer
        self.scheduler = self
        self.cancelled = False

    def identity(self) -> None:
        return None

    def sync(self, _: object, callback_timeout: float) -> object:
        if isinstance(self._answer, BaseException):
            raise self._answer
        return self._answer

    def submit(self, *_: object, **__: object) -> distributed.Future:
        return object()

    def cancel(self, futures: object) -> None:
        self.cancelled = True


def nothing_done(*_: object, **__: object) -> None:
    raise TimeoutError


def test_without_workers_it_says_so_once_and_waits_as_long_as_it_may(
    plan: tuple[SlideTask, list[Tile]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(distributed, "wait", nothing_done)
    client, listener = FakeClient({"workers": {}}), Recorder()
    workers = DaskWorkers(client, worker_timeout=0.05)
    with pytest.raises(CellGenNetError, match="no worker has been connected"):
        list(workers.finished(plan[0], [plan[1]], tmp_path, listener))
    assert len(listener.warnings) == 1
    assert "No worker is connected" in listener.warnings[0]
    assert client.cancelled


@pytest.mark.parametrize(
    "error", [TimeoutError(), ConnectionResetError(), distributed.comm.CommClosedError()]
)
def test_a_scheduler_that_dies_ends_every_image_in_one_line(
    plan: tuple[SlideTask, list[Tile]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    monkeypatch.setattr(distributed, "wait", nothing_done)
    workers = DaskWorkers(FakeClient(error))
    for _ in range(2):
        with pytest.raises(CellGenNetError, match="no longer reachable"):
            list(workers.finished(plan[0], [plan[1]], tmp_path, Recorder()))
    assert workers.lost
    assert cluster._POLL + cluster._SILENCE <= 30


def test_errors_travel() -> None:
    import pickle

    error = pickle.loads(pickle.dumps(SlideError("a.svs", "is torn", "Copy it again")))  # noqa: S301
    assert str(error) == "a.svs: is torn. Copy it again."
    assert isinstance(error, CellGenNetError)
