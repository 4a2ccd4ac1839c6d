"""The demo: two rectangles are corrected as by a user, and what is learnt from them helps on every slide."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import shapely

from cellgennet_qupath.core.progress import SILENT
from cellgennet_qupath.core.resources import sample_projects
from cellgennet_qupath.demo import Outcome, run_demo
from cellgennet_qupath.qupath.open import open_project
from cellgennet_qupath.slides.reader import slide_size

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    return run_demo(tmp_path_factory.mktemp("demo"), 0, SILENT)


def test_the_nuclei_are_better_after_than_before_on_every_slide(outcome: Outcome) -> None:
    assert [one.name for one in outcome.after] == [one.name for one in outcome.before]
    for before, after in zip(outcome.before, outcome.after, strict=True):
        assert after.f1 > before.f1, after.name
        assert after.pq > before.pq, after.name
    assert [one.annotated for one in outcome.after] == [True, True, True, False]


def test_two_rectangles_are_corrected_beside_what_is_annotated(outcome: Outcome) -> None:
    assert len(outcome.corrections) == 2
    for one in outcome.corrections:
        assert one.outlined > 0
        x, y, width, height = one.box
        rectangle = shapely.box(x, y, x + width, y + height)
        with (
            open_project(sample_projects() / "quickstart", "files", size_of=slide_size) as original,
            open_project(outcome.places["project"], "files", size_of=slide_size) as corrected,
        ):
            entry = next(entry for entry in original.entries if entry.name == one.image)
            earlier, now = original.annotations(entry), corrected.annotations(entry)
        assert not shapely.intersects([a.geometry for a in earlier], rectangle).any()
        assert len(now) == len(earlier) + 1 + one.outlined
        (drawn,) = [a.geometry for a in now if a.path_class == "Corrected"]
        assert shapely.equals(drawn, rectangle)


def test_all_files_are_there(outcome: Outcome) -> None:
    places = outcome.places
    assert len(list(places["detections"].glob("*.geojson.gz"))) == 4
    rows = places["table"].read_text(encoding="utf-8").count("\n") - 1
    assert rows == sum(one.found for one in outcome.after)
    assert (Path(places["model"]) / "report" / "training.html").is_file()
    assert np.isfinite([one.dice for one in outcome.after]).all()
