"""The benchmark beside other tools: who is missing is said, and everyone works at their own resolution."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray

from cellgennet_qupath.bundle import Bundle
from cellgennet_qupath.evaluation.regions import folder_regions
from cellgennet_qupath.metrics.scores import score

FILE = Path(__file__).resolve().parents[2] / "benchmarks" / "peers.py"


@pytest.fixture(scope="module")
def peers() -> ModuleType:
    spec = importlib.util.spec_from_file_location("peers", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["peers"] = module
    spec.loader.exec_module(module)
    return module


def test_without_weights_the_others_go_on(
    tmp_path: Path, peers: ModuleType, labelled_folder: Callable[[Path, int], Path], untrained: Bundle
) -> None:
    folder = labelled_folder(tmp_path / "d", 2)
    arguments = [folder, "-m", untrained.path, "-o", tmp_path / "r", "--mpp", 0.5, "--threads", 1]
    result = CliRunner().invoke(
        peers.main, [*map(str, arguments), "--stardist", "nowhere"], catch_exceptions=False
    )
    assert result.exit_code == 0, result.output
    table = (tmp_path / "r" / "peers.md").read_text(encoding="utf-8")
    rows = {line.split("|")[1].strip(): line for line in table.splitlines() if line.startswith("|")}
    assert set(rows) >= {"untrained", "classical", "StarDist", "Cellpose", "InstanSeg"}
    assert "nowhere do not exist" in rows["StarDist"]
    assert "MoNuSeg and TNBC" in rows["StarDist"]
    assert "not run" in rows["Cellpose"]
    assert (tmp_path / "r" / "report.html").is_file()


def test_a_peer_works_at_the_resolution_that_it_expects(
    tmp_path: Path, peers: ModuleType, labelled_folder: Callable[[Path, int], Path]
) -> None:
    field = folder_regions(labelled_folder(tmp_path, 1), mpp=0.25)[0]
    true, _ = field.truth()
    seen = []

    def halved(pixels: NDArray[np.uint8]) -> NDArray[np.int32]:
        seen.append(pixels.shape)
        return true[::2, ::2] * 3

    peer = next(peer for peer in peers.PEERS if peer.mpp == 0.5)
    found = peers.PeerPredictor("p", peer, halved).predict(field, field.pixels())
    assert seen == [(80, 80, 3)]
    assert found.labels.max() == len(found.probability) == true.max()
    assert score(true, found.labels).counts[0.7].f1 == 1
