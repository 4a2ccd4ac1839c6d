"""QuPath's own cell detection as a row of the comparison of tools."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from scipy.ndimage import center_of_mass

from cellgennet_qupath.core.errors import QuPathError
from tests.drawn_tissue import tissue
from tests.qupath.backends import needs_qupath

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def cells() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCHMARKS)
        yield importlib.import_module("qupath_cells")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve drawn images; of the ten to train on the last one is for the choice of settings."""
    root = tmp_path_factory.mktemp("data")
    lines = ["dataset,file,split"]
    for part in ("images", "labels"):
        (root / "nuclei" / "tnbc" / part).mkdir(parents=True)
    for number in range(12):
        image, labels = tissue(number)
        cv2.imwrite(str(root / "nuclei" / "tnbc" / "images" / f"{number:02}.png"), image[..., ::-1])
        cv2.imwrite(str(root / "nuclei" / "tnbc" / "labels" / f"{number:02}.png"), labels.astype(np.uint16))
        lines.append(f"tnbc,{number:02}.png,{'train' if number < 10 else 'test'}")
    (root / "manifest.csv").write_text("\n".join(lines), encoding="utf-8")
    return root


@pytest.fixture
def no_qupath(cells: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cells, "find_qupath", lambda: None)


@pytest.mark.usefixtures("no_qupath")
def test_without_qupath_one_line_says_so(cells: ModuleType, data: Path, tmp_path: Path) -> None:
    with pytest.raises(QuPathError, match="paquo finds no QuPath"):
        cells.results(data, tmp_path / "none")
    ended = CliRunner().invoke(cells.main, [str(data), "-o", str(tmp_path / "none")])
    assert ended.exit_code == 1
    assert ended.output.splitlines() == [
        "Not run: QuPath's cell detection: paquo finds no QuPath. Set PAQUO_QUPATH_DIR."
    ]
    assert not (tmp_path / "none").exists()


@pytest.mark.usefixtures("no_qupath")
def test_complete_rows_are_not_measured_again(cells: ModuleType, data: Path, tmp_path: Path) -> None:
    names = ["dice", "iou", "tpr", "fpr", "hd95", "pq", "aji", "f1@0.5"]
    row = {"method": "QuPath", "dataset": "tnbc", "image": "10", **dict.fromkeys(names, 0.25)}
    (tmp_path / "qupath").mkdir()
    pd.DataFrame([row]).to_csv(tmp_path / "qupath" / "scores.csv", index=False)
    ended = CliRunner().invoke(cells.main, [str(data), "-o", str(tmp_path)])
    assert ended.exit_code == 0
    assert "| QuPath | 0.250 | 0.250 |" in ended.output
    assert "| - | - |" in ended.output
    assert (tmp_path / "qupath" / "table.md").read_text(encoding="utf-8") in ended.output


@pytest.mark.qupath
def test_parameters_are_those_that_qupath_fills_in(cells: ModuleType, data: Path) -> None:
    needs_qupath()
    filled = cells.filled_in(cells.opened(data / "nuclei" / "tnbc" / "images" / "00.png"))
    expected = {
        "detectionImageBrightfield": "Hematoxylin OD",
        "requestedPixelSizeMicrons": 0.5,
        "backgroundRadiusMicrons": 8,
        "sigmaMicrons": 1.5,
        "minAreaMicrons": 10,
        "maxAreaMicrons": 400,
        "threshold": 0.1,
        "watershedPostProcess": True,
    }
    assert {name: filled[name] for name in expected} == expected
    assert set(cells.GRID) | set(cells.UNMEASURED) <= set(filled)
    assert all(filled[name] in values for name, values in cells.GRID.items())


@pytest.mark.qupath
def test_nuclei_lie_where_they_are_drawn(cells: ModuleType, data: Path) -> None:
    needs_qupath()
    for item in cells.development_images(data):
        truth, found = item.truth(), cells.detected(item, {})
        area = np.bincount(truth.ravel())
        numbers = np.flatnonzero(area > 200)[1:]  # 12.5 µm²: QuPath's least area is 10
        covered = [np.bincount(found[truth == number]).argmax() for number in numbers]
        assert len(numbers) > 5
        assert sorted(covered) == sorted(set(covered) - {0})
        away = np.subtract(
            center_of_mass(truth > 0, truth, numbers), center_of_mass(found > 0, found, covered)
        )
        assert np.abs(np.median(away, axis=0)).max() < 0.25
        assert cells.detected(item, {"threshold": 5.0}).max() == 0


@pytest.mark.qupath
def test_both_rows_are_scored(cells: ModuleType, data: Path, tmp_path: Path) -> None:
    needs_qupath()
    found = cells.results(data, tmp_path)
    assert found.groupby("method")["image"].apply(list).tolist() == [["10", "11"]] * 2
    assert [method.split(", ")[1] for method in found["method"].unique()] == [
        "defaults",
        "tuned on train images",
    ]
    assert (found["dice"] > 0.75).all()
    about = json.loads((tmp_path / "parameters.json").read_text(encoding="utf-8"))
    tried = about["PQ on train images"]
    best = max(tried, key=lambda one: one["pq"])
    assert len(tried) == len(cells.grid()) == 15
    assert {name: about["parameters"]["tuned on train images"][name] for name in cells.GRID} == {
        name: best[name] for name in cells.GRID
    }
