"""Which images are segmented: by name, by pattern, by id, and as requests come."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from typing import Literal

import pytest
import shapely

from cellgennet_qupath.core.errors import UsageError
from cellgennet_qupath.qupath.project import Annotation, Core, Project, Within
from cellgennet_qupath.segmentation.batch import segment_project
from cellgennet_qupath.segmentation.options import SegmentOptions

from .fakes import model
from .projects import MemoryProject, picture, segment

Form = Literal["NFC", "NFD"]


def test_images_are_chosen_by_pattern(project: MemoryProject) -> None:
    for name in ("liver 1", "liver 2", "spleen"):
        project.add(name, picture())
    assert [r.name for r in segment(project, images=["liver*"])] == ["liver 1", "liver 2"]
    assert [r.name for r in segment(project, images=["spleen.png", "liver 1"])] == ["liver 1", "spleen"]
    with pytest.raises(UsageError, match=r"kidney.*liver 1, liver 2, spleen"):
        segment(project, images=["liver*", "kidney"])


def test_a_project_without_images(project: MemoryProject) -> None:
    with pytest.raises(UsageError, match="no images"):
        segment(project)


def image_names(project: Project, **options: object) -> list[str]:
    chosen = SegmentOptions(tile=128, **options)  # type: ignore[arg-type]
    return [result.name for result in segment_project(project, model(), chosen)]


def test_exact_names_come_before_patterns_and_ids_have_their_own_option(project: MemoryProject) -> None:
    for name in ("3", "1", "scan [2]", "scan 2", "*"):
        project.add(name, picture())
    assert image_names(project, images=["3"]) == ["3"]
    assert image_names(project, images=["scan [2]"]) == ["scan [2]"]
    assert image_names(project, images=["*"]) == ["*"]
    assert image_names(project, images=["scan [[]*"]) == ["scan [2]"]
    with pytest.raises(UsageError, match=r"--image 5: no image .* use --image-id 5"):
        image_names(project, images=["5"])
    assert image_names(project, image_ids=["3", "1"]) == ["3", "scan [2]"]
    assert image_names(project, images=["1"], image_ids=["4"]) == ["1", "scan 2"]
    with pytest.raises(UsageError, match=r"--image-id 9: .*1 \(3\)"):
        image_names(project, image_ids=["9"])
    project.add("3", None)
    with pytest.raises(UsageError, match=r"2 images have this name.*--image-id 1 .*--image-id 6"):
        image_names(project, images=["3"])


@pytest.mark.parametrize("forms", [("NFC", "NFD"), ("NFD", "NFC")])
def test_the_form_of_accents_does_not_matter(project: MemoryProject, forms: tuple[Form, Form]) -> None:
    stored, typed = (unicodedata.normalize(form, "Röhre é") for form in forms)
    for name in ("Rohre e", stored):
        one = project.add(name, picture())
        project.drawn[one.id] = [Annotation("a", shapely.box(0, 0, 99, 99), "Rectangle", f"{name} Tumör")]
    for asked in (typed, f"{typed}.png", f"{typed[:3]}*"):
        assert image_names(project, images=[asked]) == [stored]
    within = unicodedata.normalize(forms[1], f"{stored} Tumör")
    done = segment_project(project, model(), SegmentOptions(tile=128, within=within))
    assert [result.status for result in done] == ["skipped", "done"]
    assert Within(cores=(typed,)).objects([], [Core("c", shapely.box(0, 0, 9, 9), "Ellipse", name=stored)])


def test_ids_that_come_one_by_one_are_segmented_as_they_come(project: MemoryProject) -> None:
    for name in ("one", "two", "three", "four"):
        project.add(name, picture())
    seen: list[str] = []

    def ids() -> Iterator[str]:
        yield "3"
        assert (seen, project.writes) == (["three"], ["3"])
        yield "1"
        assert (seen, project.writes) == (["three", "one"], ["3", "1"])
        yield "3"

    options = SegmentOptions(tile=128, image_ids=ids())
    results = segment_project(project, model(), options, on_image=lambda result: seen.append(result.name))
    assert [result.name for result in results] == seen == ["three", "one", "three"]
    assert project.writes == ["3", "1"]  # the third request found its image done


@pytest.mark.parametrize("identifier", ["9", "one", ""])
def test_an_id_that_does_not_exist_ends_the_requests(project: MemoryProject, identifier: str) -> None:
    project.add("one", picture())
    with pytest.raises(UsageError, match="no image has this id"):
        segment_project(project, model(), SegmentOptions(image_ids=iter([identifier])))
