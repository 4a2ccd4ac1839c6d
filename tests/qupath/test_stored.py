"""Nuclei of a file are kept, put back and taken into a project chunk by chunk."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely

from cellgennet_qupath.core.errors import EntryDataError
from cellgennet_qupath.images import create_project
from cellgennet_qupath.nuclei import Nuclei, concat
from cellgennet_qupath.qupath.files import FilesBackend
from cellgennet_qupath.qupath.formats import detections
from cellgennet_qupath.qupath.loose import open_loose
from cellgennet_qupath.qupath.project import WriteOptions
from cellgennet_qupath.qupath.replaced import keep_detections, restore_detections
from cellgennet_qupath.qupath.search import find_images
from cellgennet_qupath.qupath.stored import Beside, StoredNuclei
from tests.projects import drawn_slide
from tests.qupath.backends import assert_equal, nuclei, with_cells

FEW = 4
"""Nuclei per chunk."""


@dataclass
class Pieces:
    """Nuclei in chunks of a few."""

    nuclei: Nuclei

    def __len__(self) -> int:
        return len(self.nuclei)

    def chunks(self) -> Iterator[Nuclei]:
        for start in range(0, len(self), FEW):
            yield self.nuclei.take(np.arange(start, min(start + FEW, len(self))))


@pytest.fixture
def alive(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """Files are read in chunks of a few; the most nuclei of files that were in memory at once."""
    read: list[weakref.ref[Nuclei]] = []
    most = [0]
    original: Callable[[Any], tuple[Nuclei, Any]] = detections._nuclei

    def counted(columns: Any) -> tuple[Nuclei, Any]:
        found = original(columns)
        read.append(weakref.ref(found[0]))
        most[0] = max(most[0], sum(len(one) for ref in read if (one := ref()) is not None))
        return found

    monkeypatch.setattr(detections, "CHUNK", FEW)
    monkeypatch.setattr(detections, "_nuclei", counted)
    return lambda: most[0]


def many(first: int, n: int) -> Nuclei:
    outlines = [shapely.Point(20 * k + 10, 50).buffer(6) for k in range(first, first + n)]
    return Nuclei.from_polygons(outlines, np.linspace(0.5, 1, n))


@pytest.mark.parametrize("columns", [True, False])
def test_a_file_is_read_as_it_was_written(tmp_path: Path, alive: Callable[[], int], columns: bool) -> None:
    written = with_cells(nuclei(11))
    file, beside = tmp_path / "detections" / "1.geojson.gz", tmp_path / "columns" / "1.parquet"
    detections.write_detections(file, Pieces(written), columns_file=beside if columns else None)
    stored = StoredNuclei(file, beside)
    assert len(stored) == 11
    chunks = list(stored.chunks())
    assert [len(chunk) for chunk in chunks] == [4, 4, 3]
    assert_equal(concat(chunks), written)
    assert concat(list(stored.chunks())).ids.tolist() == written.ids.tolist()


def test_chunks_of_a_file_of_others_have_the_same_columns(tmp_path: Path, alive: Callable[[], int]) -> None:
    """Each feature lists its own measurements only."""
    file = tmp_path / "1.geojson"
    square = '{"type":"Polygon","coordinates":[[[0,0],[9,0],[9,9],[0,9],[0,0]]]}'
    features = [
        f'{{"type":"Feature","geometry":{square},"properties":{{"objectType":"detection",'
        f'"measurements":{{"Size {k // FEW}":{k}}}}}}}'
        for k in range(2 * FEW)
    ]
    file.write_text(f'{{"type":"FeatureCollection","features":[{",".join(features)}]}}', encoding="utf-8")
    chunks = list(StoredNuclei(file).chunks())
    assert [list(chunk.measurements) for chunk in chunks] == [["Size 0", "Size 1"]] * 2
    assert concat(chunks).measurements["Size 1"].tolist()[FEW:] == [4, 5, 6, 7]
    assert chunks[0].measurements["Size 1"].isna().all()


def test_no_nuclei_are_one_empty_chunk(tmp_path: Path) -> None:
    file = tmp_path / "1.geojson.gz"
    detections.write_detections(file, many(0, 0))
    assert [len(chunk) for chunk in StoredNuclei(file).chunks()] == [0]
    assert [len(chunk) for chunk in Beside(StoredNuclei(file), many(0, 0)).chunks()] == [0, 0]


def test_a_damaged_file_is_an_error_before_anything_is_written(tmp_path: Path) -> None:
    file = tmp_path / "1.geojson"
    detections.write_detections(file, many(0, 9))
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(EntryDataError, match="truncated or damaged"):
        StoredNuclei(file)


def test_what_stays_comes_first_and_all_chunks_have_the_same_columns() -> None:
    staying, new = nuclei(), concat([many(100, 6), nuclei().take(np.array([5]))])
    beside = Beside(Pieces(staying), Pieces(new))
    chunks = list(beside.chunks())
    assert len(beside) == len(staying) + len(new)
    assert concat(chunks).ids.tolist() == staying.ids.tolist() + new.ids.tolist()[:-1]
    assert len({tuple(chunk.measurements.columns) for chunk in chunks}) == 1


def test_ids_are_compared_as_they_are_written() -> None:
    """An id that is not a UUID is written as one."""
    first, again = many(0, 2), many(5, 3)
    first.ids[:] = ["not a uuid", "8A1B2C3D-0000-4000-8000-000000000000"]
    again.ids[:2] = ["8a1b2c3d-0000-4000-8000-000000000000", "not a uuid"]
    found = concat(list(Beside(first, again).chunks()))
    assert found.ids.tolist() == [*first.ids, again.ids[2]]


def test_a_slide_is_never_in_memory_to_keep_or_restore_its_nuclei(
    project: Path, alive: Callable[[], int]
) -> None:
    with FilesBackend(project, writable=True) as opened:
        one = opened.entries[0]
        opened.write_detections(one, Pieces(many(0, 40)))
        written = opened.write_detections(one, Pieces(many(30, 40)), WriteOptions("keep"))
        assert written.count == 70
        assert keep_detections(opened, one) is not None
        opened.write_detections(one, Pieces(many(0, 3)))
        restored = restore_detections(opened, one)
        assert restored is not None
        assert restored.count == 70
        assert alive() <= 3 * FEW
        assert opened.detections(one).ids.tolist() == many(0, 70).ids.tolist()
        assert alive() == 70


def test_nor_to_keep_those_of_an_image_or_to_take_them_into_a_project(
    tmp_path: Path, alive: Callable[[], int]
) -> None:
    slide = drawn_slide(tmp_path / "slides" / "a.png")
    with open_loose(find_images([slide])[0], tmp_path / "out", 0.5) as loose:
        one = loose.entries[0]
        loose.write_detections(one, Pieces(many(0, 40)))
        assert loose.write_detections(one, Pieces(many(30, 40)), WriteOptions("keep")).count == 70
    made = create_project([tmp_path / "out"], tmp_path / "project", backend="files")
    assert made.nuclei == 70
    assert alive() <= 3 * FEW
