"""Suggestions as annotations: written, read back, and replaced only while nobody has touched them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import shapely

from cellgennet_qupath.geometry.rectangle import Rectangle
from cellgennet_qupath.qupath.formats.geojson import features, read_annotations
from cellgennet_qupath.qupath.open import Backend, open_project
from cellgennet_qupath.qupath.project import Annotation, Suggestion
from cellgennet_qupath.qupath.suggested import MARK, SUGGESTED, identifier, removable
from tests.helpers import annotation, project_hashes
from tests.qupath.backends import needs_qupath

ONE = Suggestion(Rectangle(150, 50, 190, 90), "Suggestion 1: 3 of 5 nuclei are doubtful <&>.")
TWO = Suggestion(Rectangle(2, 62, 34, 94), "Suggestion 2: ähnlich nichts.")


@pytest.fixture(params=["files", pytest.param("qupath", marks=pytest.mark.qupath)])
def backend(request: pytest.FixtureRequest) -> Backend:
    if request.param == "qupath":
        needs_qupath()
        return "qupath"
    return "files"


def drawn(suggestion: Suggestion = ONE, **changed: object) -> Annotation:
    """The annotation of a suggestion, as QuPath shows it."""
    one = annotation(shapely.box(*suggestion.box), SUGGESTED, locked=True)
    return replace(one, id=identifier(suggestion, "1"), **changed)  # type: ignore[arg-type]


def test_equal_windows_have_equal_ids_on_one_image_only() -> None:
    assert identifier(ONE, "1") == identifier(replace(ONE, reason="another"), "1")
    assert len({identifier(one, image) for one in (ONE, TWO) for image in "12"}) == 4
    assert identifier(ONE, "1").startswith(MARK)


@pytest.mark.parametrize(
    "others",
    [
        [],
        [annotation(shapely.box(100, 0, 200, 100), "Tumor")],
        [annotation(shapely.box(200, 200, 220, 220))],
        [annotation(shapely.Point(170, 70), SUGGESTED)],
        [annotation(shapely.GeometryCollection(), "")],
    ],
    ids=[
        "alone",
        "in a large area",
        "a nucleus elsewhere",
        "a Suggested of the user's",
        "an empty annotation",
    ],
)
def test_untouched_suggestions_are_removable(others: list[Annotation]) -> None:
    assert removable([drawn(), *others]) == [drawn().id]


@pytest.mark.parametrize(
    "annotations",
    [
        [drawn(path_class="Training")],
        [drawn(path_class="")],
        [drawn(locked=False)],
        [drawn(), annotation(shapely.Point(170, 70).buffer(5))],
        [drawn(), annotation(shapely.Point(152, 52).buffer(5), "Nucleus")],
        [replace(drawn(), id="0d8f3c52-90a5-4d0a-8e55-4f1c9e7a6b44")],
    ],
    ids=[
        "a region",
        "without a class",
        "unlocked",
        "with a nucleus",
        "a nucleus at its edge",
        "drawn by the user",
    ],
)
def test_what_the_user_works_on_stays(annotations: list[Annotation]) -> None:
    assert removable(annotations) == []


def test_suggestions_are_written_and_replaced(backend: Backend, project: Path) -> None:
    with open_project(project, backend, writable=True) as opened:
        one, never_opened = opened.entries
        before = opened.annotations(one)
        for entry in (one, never_opened):
            own = [] if entry is never_opened else before
            for suggestions in ([ONE, TWO], [TWO], []):
                written = opened.write_suggestions(entry, suggestions)
                if backend == "files":
                    found = read_annotations(written.file) if suggestions else []
                    assert written.file.is_file() == bool(suggestions)
                else:
                    there = opened.annotations(entry)
                    assert [a for a in there if a.path_class != SUGGESTED] == own
                    found = [a for a in there if a.path_class == SUGGESTED]
                expected = {identifier(s, entry.id): s for s in suggestions}
                assert {a.id for a in found} == set(expected)
                for a in found:
                    assert a.locked
                    assert a.roi == "Rectangle"
                    assert shapely.bounds(a.geometry).tolist() == list(expected[a.id].box)
        assert opened.counts(one).annotations == len(before)


def test_the_reason_is_the_description(project: Path) -> None:
    before = project_hashes(project, times=True)
    with open_project(project, "files", writable=True) as opened:
        file = opened.write_suggestions(opened.entries[0], [ONE, TWO]).file
    assert file == project / "cellgennet" / "suggestions" / "1.geojson"
    reasons = [one["properties"]["metadata"]["ANNOTATION_DESCRIPTION"] for one in features(file)]
    assert reasons == [ONE.reason, TWO.reason]
    assert project_hashes(project, times=True) == before


@pytest.mark.qupath
def test_suggestions_of_the_other_backend_go(project: Path) -> None:
    needs_qupath()
    with open_project(project, "files", writable=True) as opened:
        file = opened.write_suggestions(opened.entries[0], [ONE]).file
    with open_project(project, "qupath", writable=True) as opened:
        opened.write_suggestions(opened.entries[0], [TWO])
    assert not file.exists()
