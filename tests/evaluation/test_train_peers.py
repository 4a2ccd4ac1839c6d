"""The training of other tools on the same labels: material, commands, failures, tables and figures."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest

from cellgennet_qupath.geometry.rectangle import Rectangle

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def modules() -> Iterator[dict[str, ModuleType]]:
    """The modules of the comparison by name; they find each other as when one of them is run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCHMARKS)
        patch.syspath_prepend(BENCHMARKS / "peer_tools")
        names = ("peer_material", "peer_scores", "peer_student", "peer_common", "train_peers")
        yield {name: _loaded(name) for name in names}


def _loaded(name: str) -> ModuleType:
    spec = importlib.util.find_spec(name)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def scores() -> pd.DataFrame:
    """Two methods on twelve images of one data set and two of another; the first method is the better one."""
    rows = []
    for method, gain in (("CellGenNet", 0.2), ("Other", 0.0)):
        for image in range(14):
            dataset = "nuinsseg" if image < 12 else "tnbc"
            names = ("dice", "iou", "tpr", "fpr", "pq", "aji", "f1@0.5")
            values = dict.fromkeys(names, 0.5 + gain + 0.01 * image)
            rows.append({"method": method, "dataset": dataset, "image": f"i{image}", "hd95": 20.0, **values})
    return pd.DataFrame(rows)


def test_windows_are_cut_out_and_their_labels_counted_anew(modules: dict[str, ModuleType]) -> None:
    material = modules["peer_material"]
    labels = np.zeros((8, 8), np.int32)
    labels[1:3, 1:3], labels[2:6, 5:8] = 70_000, 3
    part = material.cut(labels, Rectangle(2, 2, 6, 6))
    assert material.numbered(part).tolist() == [[2, 0, 0, 1], [0, 0, 0, 1], [0, 0, 0, 1], [0, 0, 0, 1]]
    assert material.cut(labels, None) is labels
    full = material.numbered(np.full((2, 2), 9))
    assert (full.tolist(), full.dtype) == ([[1, 1], [1, 1]], np.uint16)


def test_torch_is_installed_by_its_pin_before_the_rest(
    modules: dict[str, ModuleType], tmp_path: Path
) -> None:
    requirements = tmp_path / "tool.txt"
    requirements.write_text("numpy==2.0.2\ntorch==2.13.0\n", encoding="utf-8")
    made, torch, rest = modules["train_peers"].installation(tmp_path / "e", requirements)
    assert made == [sys.executable, "-m", "venv", str(tmp_path / "e")]
    assert torch[-1] == "torch==2.13.0"
    assert rest[-2:] == ["-r", str(requirements)]


def test_every_tool_is_pinned(modules: dict[str, ModuleType]) -> None:
    for tool in modules["train_peers"].METHODS:
        assert tool.script.is_file()
        if tool.requirements is not None:
            lines = tool.requirements.read_text(encoding="utf-8").split()
            assert all(len(line.split("==")) == 2 for line in lines)


def test_tools_get_the_same_minutes_and_seed_and_only_ours_the_data(
    modules: dict[str, ModuleType], tmp_path: Path
) -> None:
    train = modules["train_peers"]
    terms = train.Terms(tmp_path / "data", tmp_path / "material", "sparse-10", 2.5, 7)
    commands = {
        tool.name: train.command(tool, Path("python"), terms, tmp_path / "out") for tool in train.METHODS
    }
    assert set(commands) == {"CellGenNet", "StarDist", "Cellpose", "InstanSeg"}
    for name, command in commands.items():
        assert command[-4:] == ["--minutes", "2.5", "--seed", "7"]
        assert command[2] == str(tmp_path / ("data" if name == "CellGenNet" else "material"))


def test_why_a_training_failed_is_its_last_line(modules: dict[str, ModuleType]) -> None:
    reason = modules["train_peers"].reason
    assert reason("Traceback\n  somewhere\nValueError: a | b\n\n") == "ValueError: a / b"
    assert reason("") == "it ended without a message"


def test_a_tool_that_fails_is_not_taken_for_trained(modules: dict[str, ModuleType], tmp_path: Path) -> None:
    train = modules["train_peers"]
    script = tmp_path / "script.py"
    script.write_text("raise SystemExit('it needs more memory')", encoding="utf-8")
    tool, terms = train.Tool("Tool", script, None), train.Terms(tmp_path, tmp_path, "sparse-10", 1, 0)
    assert train.trained(tool, terms, tmp_path, tmp_path / "out") == "it needs more memory"
    (tmp_path / "out" / "trained.json").write_text("{}", encoding="utf-8")
    assert train.trained(tool, terms, tmp_path, tmp_path / "out") == ""


def test_epochs_fill_the_time_that_is_left(modules: dict[str, ModuleType]) -> None:
    student = modules["peer_student"]
    pace = student.Pace()
    pace.before, pace.per_step = 10.0, 0.5
    assert student.epochs_in(100, pace, 40) == 4
    assert student.epochs_in(1, pace, 40) == 1


def test_a_pace_is_measured_and_the_training_left(modules: dict[str, ModuleType]) -> None:
    student = modules["peer_student"]
    pace = student.Pace()
    with pace.track("tiles", 2) as task:
        task.advance(60)
    with pytest.raises(student._Measured), pace.track("student", 100) as task:
        for _ in range(100):
            task.advance(1)
    assert task.done == student.LAST
    assert pace.per_step >= 0
    assert pace.before >= 0


def test_time_spent_grows_with_work(modules: dict[str, ModuleType]) -> None:
    spent = modules["peer_common"].spent
    before = spent()
    while spent() == before:
        sum(range(10_000))
    assert spent() > before


def test_the_table_begins_with_the_best_and_says_what_did_not_run(
    modules: dict[str, ModuleType], scores: pd.DataFrame
) -> None:
    learnt = {name: {"parameters": 780_000, "minutes": 10.04} for name in ("CellGenNet", "Other")}
    text = modules["peer_scores"].table(scores, learnt, {"Third": "no memory"})
    lines = text.splitlines()
    assert [line.split(" | ")[0].strip("| ") for line in lines[2:]] == ["CellGenNet", "Other", "Third"]
    assert "0.765" in lines[2]
    assert lines[2].endswith("| 0.78 M | 10.0 |")
    assert "not run: no memory" in lines[4]
    assert len({line.count("|") for line in lines}) == 1
    worse = scores.assign(method=scores["method"].map({"CellGenNet": "Other", "Other": "CellGenNet"}))
    assert modules["peer_scores"].table(worse, learnt, {}).splitlines()[2].startswith("| Other |")


def test_tests_are_corrected_for_all_their_number(
    modules: dict[str, ModuleType], scores: pd.DataFrame
) -> None:
    text = modules["peer_scores"].tests(scores, "CellGenNet")
    (line,) = text.splitlines()[2:]
    assert line.count("+0.200 (< .001)") == 5
    assert "+0.0 (1)" in line


def test_each_data_set_has_its_tables_and_boxes(
    modules: dict[str, ModuleType], scores: pd.DataFrame, tmp_path: Path
) -> None:
    learnt = {name: {"parameters": 1, "minutes": 1.0} for name in ("CellGenNet", "Other")}
    text = modules["peer_scores"].document(scores, learnt, {}, "CellGenNet")
    assert [line for line in text.splitlines() if line.endswith("images:")] == [
        "NuInsSeg, 12 images:",
        "TNBC, 2 images:",
        "All, 14 images:",
    ]
    for name in ("one", "two"):
        modules["peer_scores"].boxes(scores, "nuinsseg", tmp_path / f"{name}.svg")
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()
