"""No file, however damaged or crafted, ends a reader with anything but an error of this package.

A few hundred inputs for each reader; the environment variable ``CELLGENNET_FUZZ`` sets another number.
"""

from __future__ import annotations

import gzip
import os
import sys
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from .mutations import inputs, zipped
from .readers import READERS

EXAMPLES = int(os.environ.get("CELLGENNET_FUZZ", "150"))
MOST_SECONDS = 5.0
"""Of processor time for one input, so that a busy computer does not matter."""
MOST_MEGABYTES = 256
"""By which reading all inputs of one reader may raise the memory of the process."""


def peak_megabytes() -> float:
    """The most memory that this process has had; 0 where the system does not say."""
    if sys.platform == "win32":
        return 0.0
    import resource

    unit = 1 << 20 if sys.platform == "darwin" else 1 << 10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


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
        begun = time.process_time()
        try:
            reader.read(tmp_path / "reading", data)
        except reader.errors as error:
            assert len(str(error).splitlines()) == 1
        assert time.process_time() - begun < MOST_SECONDS

    before = peak_megabytes()
    reads()
    assert peak_megabytes() - before < MOST_MEGABYTES


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
