"""The page of a segmentation counts the nuclei that tables count: none inside ignored areas."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import shapely

from cellgennet_qupath.core.config import ClassNames
from cellgennet_qupath.qupath.files import FilesBackend
from cellgennet_qupath.report.segmentation_page import SlideCard, slide_card

from ..projects import annotate, feature
from ..segmentation.test_records import folder as folder
from ..segmentation.test_records import run


def card(folder: Path, **options: Any) -> SlideCard:
    result = run(folder, **options)[0]
    with FilesBackend(folder) as project:
        return slide_card(project, project.entries[0], result, 0.25, ClassNames())


@pytest.mark.parametrize("then", ["Ignore*", "Ignore: fold"])
def test_nuclei_that_were_kept_in_ignored_areas_do_not_count(folder: Path, then: str) -> None:
    annotate(folder, 1, [feature(shapely.box(0, 0, 220, 300), "Tumor")])
    everything = card(folder)
    annotate(folder, 1, [feature(shapely.box(0, 0, 130, 300), then)])
    kept = card(folder, existing="keep")
    without = card(folder, existing="replace-own")
    assert kept.result.count == everything.result.count > without.result.count
    assert kept.tissue == without.tissue
    assert kept.numbers == without.numbers
    assert kept.count is not None
    assert without.count is not None
    assert kept.count.sum() == without.count.sum() == without.result.count
