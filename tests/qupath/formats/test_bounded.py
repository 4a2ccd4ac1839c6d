"""Special files, packed files that unfold and deep JSON end in one line, not in a wait or out of memory."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from cellgennet_qupath.core.errors import CellGenNetError
from cellgennet_qupath.qupath.formats import bounded
from cellgennet_qupath.qupath.formats.detections import read_detections
from cellgennet_qupath.qupath.formats.featurelines import parse_features, parse_lines
from cellgennet_qupath.qupath.formats.geojson import read_annotations
from cellgennet_qupath.qupath.formats.qpdata import read_qpdata
from cellgennet_qupath.qupath.formats.qpproj import class_colors, read_project

READERS: list[tuple[str, Callable[[Path], object]]] = [
    ("data.qpdata", read_qpdata),
    ("1.geojson", read_annotations),
    ("1.geojson.gz", read_annotations),
    ("1.geojson.gz", read_detections),
    ("project.qpproj", read_project),
]


@pytest.mark.skipif(os.name == "nt", reason="no named pipes in folders")
@pytest.mark.parametrize(("name", "read"), READERS)
@pytest.mark.parametrize("kind", ["pipe", "folder", "device"])
def test_special_files_end_at_once(
    tmp_path: Path, name: str, read: Callable[[Path], object], kind: str
) -> None:
    file = tmp_path / name
    if kind == "pipe":
        os.mkfifo(file)
    elif kind == "folder":
        file.mkdir()
    else:
        file.symlink_to("/dev/zero")
    with pytest.raises(CellGenNetError) as raised:
        read(file)
    assert str(tmp_path) in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.skipif(os.name == "nt", reason="no named pipes in folders")
def test_auxiliary_files_that_are_pipes_are_as_good_as_none(tmp_path: Path) -> None:
    (tmp_path / "classifiers").mkdir()
    os.mkfifo(tmp_path / "classifiers" / "classes.json")
    assert class_colors(tmp_path) == {}


@pytest.mark.parametrize("content", ['{"pathClasses": 3}', '{"pathClasses": [3, {"name": 4}]}', "[[[["])
def test_classes_of_another_shape(tmp_path: Path, content: str) -> None:
    (tmp_path / "classifiers").mkdir()
    (tmp_path / "classifiers" / "classes.json").write_text(content, encoding="utf-8")
    assert class_colors(tmp_path) == {}


@pytest.mark.parametrize("read", [read_annotations, read_detections])
def test_a_packed_file_that_unfolds_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read: Callable[[Path], object]
) -> None:
    monkeypatch.setattr(bounded, "FREE_BYTES", 1000)
    file = tmp_path / "1.geojson.gz"
    text = json.dumps({"type": "FeatureCollection", "features": []})
    file.write_bytes(gzip.compress((text + " " * 200_000).encode()))
    with pytest.raises(CellGenNetError, match="unpacks to over 100 times its size"):
        read(file)
    monkeypatch.setattr(bounded, "FREE_BYTES", 1 << 20)
    assert len(read(file)) == 0  # type: ignore[arg-type]


@pytest.mark.parametrize("read", [read_annotations, read_detections])
@pytest.mark.parametrize(
    "content",
    [
        '{"features":' + "[" * 3000,
        '{"type":"FeatureCollection","cellgennet":' + "[" * 3000 + ',"features":[\n',
        '{"type":"FeatureCollection","cellgennet":{"measurements":[]},"features":[\n'
        + '{"a":' * 3000
        + "\n]}\n",
    ],
)
def test_deep_json_is_damaged(tmp_path: Path, read: Callable[[Path], object], content: str) -> None:
    file = tmp_path / "1.geojson"
    file.write_text(content, encoding="utf-8")
    with pytest.raises(CellGenNetError) as raised:
        read(file)
    assert "\n" not in str(raised.value)


def test_a_name_for_every_nucleus_is_no_measurement(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every name costs a column for all rows."""
    ring = [[0, 0], [4, 0], [4, 4], [0, 0]]
    features = [
        {
            "id": str(row),
            "geometry": {"type": "Polygon", "coordinates": [ring]},
            "properties": {"measurements": {f"m{row}": 1.0}},
        }
        for row in range(30)
    ]
    assert parse_features(features, []).measurements.shape == (30, 30)
    monkeypatch.setattr("cellgennet_qupath.qupath.formats.featurelines._MOST_MEASUREMENTS", 20)
    with pytest.raises(ValueError, match="too many"):
        parse_features(features, [])
    with pytest.raises(ValueError, match="too many"):
        parse_lines([json.dumps(feature) for feature in features], [])
    with pytest.raises(ValueError, match="too many"):
        parse_lines([], [str(number) for number in range(21)])


@pytest.mark.parametrize("name", ["\ud800", "Tumor \udfff", "a\ud83d: b"])
def test_lone_surrogates_do_not_get_in(tmp_path: Path, name: str) -> None:
    feature = {
        "type": "Feature",
        "geometry": {"type": "Point", "coordinates": [1, 2]},
        "properties": {"objectType": "annotation", "name": name, "classification": {"name": name}},
    }
    file = tmp_path / "1.geojson"
    file.write_text(json.dumps(feature), encoding="utf-8")
    (read,) = read_annotations(file)
    assert f"{read.name}{read.path_class}".encode()
    (tmp_path / "project.qpproj").write_text(
        json.dumps({"images": [{"entryID": 1, "imageName": name}]}), encoding="utf-8"
    )
    assert read_project(tmp_path).images[0].entry.name.encode()
