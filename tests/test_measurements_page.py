"""The page on measurements: it describes every column."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from .pages import DOCS, code_blocks, run_commands, segmented_project

PAGE = DOCS / "measurements.md"


@pytest.fixture(scope="module")
def folder(sample_project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``MyProject`` and what the commands of the page write."""
    here = tmp_path_factory.mktemp("measurements")
    segmented_project(sample_project, here)
    for blocks in code_blocks(PAGE).values():
        for language, text in blocks:
            assert language == "sh"
            run_commands(text, here)
    return here


def test_every_column_is_described(folder: Path) -> None:
    page = PAGE.read_text(encoding="utf-8")
    table = pd.read_csv(folder / "nuclei.csv")
    # Two of the third slide's nuclei are inside its Ignore* area.
    assert len(table) == 879 + 1155 + (422 - 2) + 1016
    for name in table.columns:
        assert f"`{name.replace('Eosin', 'Hematoxylin')}`" in page, name
    assert table.drop(columns=["Name"]).notna().all(axis=None)
    summary = pd.read_csv(folder / "summary.csv")
    for name in summary.columns:
        described = name if " of " not in name else f"{name.split(' of ')[0]} of X"
        assert f"`{described}`" in page, name
    assert summary["Num Detections"][summary["Object type"] == "Image"].sum() == len(table)
    assert set(summary["Classification"].dropna()) == {"Training", "Validation", "Background", "Ignore*"}
