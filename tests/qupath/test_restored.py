"""Nuclei that are put back in real QuPath have the parents that they had."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import shapely

from cellgennet_qupath.nuclei import Nuclei
from cellgennet_qupath.qupath.formats.detections import detection_chunks
from cellgennet_qupath.qupath.open import open_project
from cellgennet_qupath.qupath.project import ImageEntry, Project, Within, WriteOptions
from cellgennet_qupath.qupath.replaced import keep_detections, restore_detections
from tests.qupath.backends import needs_qupath

pytestmark = pytest.mark.qupath


def parents(project: Project, entry: ImageEntry) -> Counter[str]:
    """How many of this tool's nuclei lie under each annotation, by its id."""
    return Counter(
        str(parent)
        for chunk in project.detection_chunks(entry)
        if chunk.parent_ids is not None
        for parent, one in zip(chunk.parent_ids, chunk.nuclei.ids, strict=True)
        if one.startswith("ce119e00-")
    )


@pytest.mark.parametrize("every", [False, True])
@pytest.mark.parametrize("copied", ["0.5", "0.7"], indirect=True)
def test_restored_nuclei_have_the_parents_that_they_had(copied: Path, every: bool) -> None:
    needs_qupath()
    with open_project(copied, "qupath", writable=True, older_qupath=True) as project:
        entry, area = next(
            (entry, one)
            for entry in project.entries
            if entry.opened
            for one in project.annotations(entry)
            if one.path_class and shapely.area(one.geometry) > 1000
        )
        x, y = (float(v) for v in shapely.get_coordinates(shapely.point_on_surface(area.geometry))[0])
        outside = shapely.box(*(-9.0, -9.0, -5.0, -5.0))
        nuclei = Nuclei.from_polygons([shapely.box(x - 2, y - 2, x + 2, y + 2), outside])
        project.write_detections(entry, nuclei, WriteOptions(within=Within(ids=(area.id,))))
        before = parents(project, entry)
        assert before == {area.id: 1, "": 1}
        kept = keep_detections(project, entry, every)
        assert kept is not None
        written = [str(one) for _, above in detection_chunks(kept) for one in above]
        assert area.id in written
        project.write_detections(entry, nuclei)
        assert parents(project, entry) == {"": 2}
        restored = restore_detections(project, entry)
        assert restored is not None
        assert parents(project, entry)[area.id] == 1
        assert parents(project, entry)[""] >= 1
