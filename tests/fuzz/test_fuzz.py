"""No file, however damaged or crafted, ends a reader with anything but an error of this package.

A few hundred inputs for each reader; the environment variable ``CELLGENNET_FUZZ`` sets another number.
"""

from __future__ import annotations

import gzip
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from .mutations import inputs, zipped
from .readers import READERS, unpacked

EXAMPLES = int(os.environ.get("CELLGENNET_FUZZ", "150"))
MOST_SECONDS = 5.0
"""Of processor time for one input, so that a busy computer does not matter."""
MOST_TIMES, FREE = 10, 64 << 20
"""Memory that reading one input may take: this many times its unpacked size, and this many bytes."""


def memory_taken(work: Callable[[], object]) -> int:
    """The bytes by which the memory of this process rises while it works, that of libraries included.

    Some megabytes may come from memory that it freed before, and are not seen.

    0 where the system (any but Linux) cannot begin its measurement of the peak anew.
    """
    status, reset = Path("/proc/self/status"), Path("/proc/self/clear_refs")
    if not reset.exists():
        work()
        return 0
    reset.write_text("5")
    before = _status_bytes(status, "VmRSS")
    work()
    return _status_bytes(status, "VmHWM") - before


def _status_bytes(status: Path, name: str) -> int:
    lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
    return int(lines[name].split()[0]) << 10


@pytest.mark.parametrize("name", READERS)
def test_only_errors_of_this_package_come_out(name: str, tmp_path: Path) -> None:
    reader = READERS[name]
    (tmp_path / "seeds").mkdir()
    (tmp_path / "reading").mkdir()
    seeds = reader.seeds(tmp_path / "seeds")
    strategy: st.SearchStrategy[bytes] = zipped(seeds) if reader.gzipped else inputs(seeds)

    @settings(
        max_examples=EXAMPLES,
        database=None,
        derandomize=EXAMPLES <= 1000,
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def reads(data: bytes) -> None:
        def read() -> None:
            try:
                result = reader.read(tmp_path / "reading", data)
            except reader.errors as error:
                assert len(str(error).splitlines()) == 1
            else:
                if reader.held is not None:
                    held, came_out = reader.held(seeds, data, result)
                    assert came_out >= held

        begun = time.process_time()
        taken = memory_taken(read)
        assert time.process_time() - begun < MOST_SECONDS
        assert taken <= MOST_TIMES * len(unpacked(data)) + FREE

    reads()


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="only Linux measures peaks anew")
# Less may come from memory that the process freed before and still holds.
@pytest.mark.parametrize("megabytes", [100, 300])
def test_the_measurement_of_memory_sees_it(megabytes: int) -> None:
    taken = memory_taken(lambda: len(b"x" * (megabytes << 20)))
    assert megabytes - 4 < taken / 2**20 < megabytes + 40


@pytest.mark.parametrize("name", sorted(set(READERS) - {"card"}))
def test_the_seeds_are_valid(name: str, tmp_path: Path) -> None:
    """Otherwise all mutations would fail at once, in the same place."""
    reader = READERS[name]
    (tmp_path / "seeds").mkdir()
    (tmp_path / "reading").mkdir()
    for seed in reader.seeds(tmp_path / "seeds"):
        if b"&a [1, 2]" in seed:  # aliases, in a setting that does not exist
            continue
        data = gzip.compress(seed) if reader.gzipped else seed
        assert reader.read(tmp_path / "reading", data) is not None
