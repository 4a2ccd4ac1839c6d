"""The comparison with other tools: it reports missing ones and runs each at its own resolution."""

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


def test_tools_without_weights_are_reported_and_the_others_run(
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


def test_a_peer_runs_at_the_resolution_it_expects(
    tmp_path: Path, peers: ModuleType, labelled_folder: Callable[[Path, int], Path]
) -> None:
    region = folder_regions(labelled_folder(tmp_path, 1), mpp=0.25)[0]
    true, _ = region.truth()
    seen = []

    def halved(pixels: NDArray[np.uint8]) -> NDArray[np.int32]:
        seen.append(pixels.shape)
        return true[::2, ::2] * 3

    peer = next(peer for peer in peers.PEERS if peer.mpp == 0.5)
    prediction = peers.PeerPredictor("p", peer, halved).predict(region, region.pixels())
    assert seen == [(80, 80, 3)]
    assert prediction.labels.max() == len(prediction.probability) == true.max()
    assert score(true, prediction.labels).counts[0.7].f1 == 1
