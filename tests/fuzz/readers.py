"""Every reader of files, as a function of bytes that raises only errors of this package."""

from __future__ import annotations

import io
import json
import zlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import shapely
import yaml

from cellgennet_qupath.bundle import Card, load_bundle, write_bundle
from cellgennet_qupath.core.arrays import DamagedArraysError, read_npz
from cellgennet_qupath.core.config import Config, LossConfig, PseudoConfig, StudentConfig
from cellgennet_qupath.core.config_file import load_config
from cellgennet_qupath.core.errors import CellGenNetError
from cellgennet_qupath.evaluation.precomputed import _outlines, _parsed
from cellgennet_qupath.networks.stardist_config import check_stardist_folder
from cellgennet_qupath.nuclei import Nuclei
from cellgennet_qupath.qupath.formats.detections import read_detections, read_head, write_detections
from cellgennet_qupath.qupath.formats.geojson import read_objects
from cellgennet_qupath.qupath.formats.qpdata import QpData, parse, read_qpdata
from cellgennet_qupath.qupath.formats.qpproj import read_project
from cellgennet_qupath.qupath.project import ImageEntry
from cellgennet_qupath.segmentation.assemble import TileNuclei
from cellgennet_qupath.segmentation.checkpoint import Checkpoint
from cellgennet_qupath.segmentation.record import Record, read_record, write_record
from cellgennet_qupath.training.pseudo_labels import prediction_is_whole, tile_is_whole
from cellgennet_qupath.training.run_folder import _stored_identity, read_json, with_checksum

SAMPLE = Path(__file__).resolve().parents[2] / "sample_projects" / "quickstart"


@dataclass(frozen=True)
class Reader:
    """A reader under test.

    seeds   : makes small valid files, with the help of an empty folder.
    read    : reads bytes as such a file, with the help of an empty folder of its own.
    held    : how many objects a file holds and how many came out, for a reader that must lose none without a
              word; from the seeds, the bytes and the result.
    gzipped : whether the format is inside gzip.
    errors  : what it may raise.
    """

    seeds: Callable[[Path], list[bytes]]
    read: Callable[[Path, bytes], object]
    gzipped: bool = False
    errors: tuple[type[Exception], ...] = field(default=(CellGenNetError,))
    held: Callable[[list[bytes], bytes, Any], tuple[int, int]] | None = None


def _in_file(name: str, read: Callable[[Path], object]) -> Callable[[Path, bytes], object]:
    def reading(folder: Path, data: bytes) -> object:
        file = folder / name
        file.write_bytes(data)
        return read(file)

    return reading


def _qpdata_seeds(_: Path) -> list[bytes]:
    return [(SAMPLE / "data" / name / "data.qpdata").read_bytes() for name in ("4", "3")]


def _annotated_seeds(_: Path) -> list[bytes]:
    return [(SAMPLE / "data" / "3" / "data.qpdata").read_bytes()]


def _annotations_held(seeds: list[bytes], _: bytes, read: QpData) -> tuple[int, int]:
    """No change of a few bytes takes an annotation out of a file, as each has many more."""
    return min(len(parse(seed).annotations) for seed in seeds), len(read.annotations)


def _features_held(_: list[bytes], data: bytes, read: tuple[list[Any], Counter[str]]) -> tuple[int, int]:
    content = json.loads(unpacked(data).decode("utf-8-sig"))
    features = content.get("features", [content]) if isinstance(content, dict) else content
    return len(features), len(read[0]) + read[1].total()


def unpacked(data: bytes) -> bytes:
    """What is inside gzip, as much of it as can be unpacked; other bytes as they are."""
    if data[:2] != b"\x1f\x8b":
        return data
    try:
        return zlib.decompressobj(31).decompress(data)
    except zlib.error:
        return data


def _project_seeds(_: Path) -> list[bytes]:
    return [(SAMPLE / "project.qpproj").read_bytes()]


def _feature(kind: str, geometry: shapely.Geometry) -> dict[str, Any]:
    properties = {"objectType": kind, "classification": {"name": "Training", "color": [1, 2, 3]}, "name": "a"}
    return {
        "type": "Feature",
        "id": "6a1fb2a4-1d0c-4b0e-9f3b-2b1f6a1c0d11",
        "geometry": json.loads(shapely.to_geojson(geometry)),
        "properties": properties,
    }


def _geojson_seeds(_: Path) -> list[bytes]:
    square, ring = (
        shapely.box(0, 0, 9, 9),
        shapely.Point(5, 5).buffer(4, 4).difference(shapely.box(4, 4, 6, 6)),
    )
    shapes = [square, ring, shapely.MultiPolygon([square, shapely.box(20, 20, 25, 25)]), shapely.Point(1, 2)]
    features = [_feature("annotation", shape) for shape in shapes]
    return [
        json.dumps({"type": "FeatureCollection", "features": features}).encode(),
        json.dumps(features).encode(),
    ]


def _prediction_seeds(folder: Path) -> list[bytes]:
    return [seed.replace(b'"annotation"', b'"detection"') for seed in _geojson_seeds(folder)]


def _nuclei() -> Nuclei:
    shapes = np.array([shapely.box(10 * k, 0, 10 * k + 8, 6) for k in range(5)], dtype=object)
    return Nuclei.from_polygons(shapes, np.linspace(0.5, 1, 5))


def _detections_seeds(folder: Path) -> list[bytes]:
    import gzip

    write_detections(folder / "d.geojson.gz", _nuclei())
    own = gzip.decompress((folder / "d.geojson.gz").read_bytes())
    return [own, json.dumps([_feature("detection", shapely.box(0, 0, 5, 5))]).encode()]


def _read_detections(folder: Path, data: bytes) -> object:
    file = folder / "d.geojson.gz"
    file.write_bytes(data)
    read_head(file)
    return read_detections(file)


def _read_predictions(file: Path) -> object:
    _parsed.cache_clear()
    return _outlines(file)


@lru_cache
def _a_bundle(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "w").write_bytes(b"weights")
    card = Card(name="m", created="2026-01-01T00:00:00Z", mpp=0.25, config=Config().model_dump(mode="json"))
    return write_bundle(folder / "m.cgn", card, {"student.safetensors": folder / "w"}).path


def _card_seeds(folder: Path) -> list[bytes]:
    shipped = (
        Path(load_bundle.__code__.co_filename).parents[1] / "pretrained" / "nuclei-he.cgn" / "model.yaml"
    )
    return [(_a_bundle(folder) / "model.yaml").read_bytes(), shipped.read_bytes()]


def _read_card(folder: Path, data: bytes) -> object:
    bundle = _a_bundle(folder / "bundle")
    (bundle / "model.yaml").write_bytes(data)
    return load_bundle(bundle)


def _settings_seeds(_: Path) -> list[bytes]:
    text = "a: &a [1, 2]\nstudent: {epochs: 3}\nloss: {bce: 1.0}\nclasses: {training: My regions}\nseed: 1\n"
    return [yaml.safe_dump(Config().model_dump(mode="json")).encode(), text.encode()]


_ENTRY = ImageEntry("1", "a", "file:/a.tif", None, (10, 10), None)


def _record_seeds(folder: Path) -> list[bytes]:
    project: Any = SimpleNamespace(work_folder=folder / "cellgennet", path=folder)
    (folder / "cellgennet").mkdir(exist_ok=True)
    record = Record(
        {"uri": "file:/a.tif"}, {"a": 1}, {"name": "m"}, None, 3, "f", "", "", "cpu", "0" * 64, ""
    )
    write_record(project, _ENTRY, record)
    return [next((folder / "cellgennet" / "segmented").iterdir()).read_bytes()]


def _read_record(folder: Path, data: bytes) -> object:
    project: Any = SimpleNamespace(work_folder=folder / "cellgennet", path=folder)
    file = folder / "cellgennet" / "segmented" / "1.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data)
    return read_record(project, _ENTRY)


def _tile_seeds(folder: Path) -> list[bytes]:
    checkpoint = Checkpoint(folder / "runs" / "one", {"a": 1})
    nuclei = _nuclei()
    probability = np.linspace(0.5, 1, 5, dtype=np.float32)
    checkpoint[0] = TileNuclei(nuclei.polygons, probability, pd.DataFrame({"Area": np.ones(5)}), 0.9)
    return [(folder / "runs" / "one" / "tile_000000.parquet").read_bytes()]


def _read_tile(folder: Path, data: bytes) -> object:
    place = folder / "runs" / "one"
    if not place.is_dir():
        Checkpoint(place, {"a": 1})
    (place / "tile_000000.parquet").write_bytes(data)
    checkpoint = Checkpoint(place, {"a": 1})
    return next((checkpoint[number] for number in (0,) if number in checkpoint), None)


def _arrays_seeds(_: Path) -> list[bytes]:
    stored, packed = io.BytesIO(), io.BytesIO()
    np.savez(stored, w0=np.ones((3, 4), np.float32), r_epoch=np.float64(1))
    np.savez_compressed(packed, image=np.zeros((8, 8, 3), np.uint8), usable=np.ones((4, 4), bool))
    return [stored.getvalue(), packed.getvalue()]


def _read_arrays(folder: Path, data: bytes) -> object:
    file = folder / "a.npz"
    file.write_bytes(data)
    tile_is_whole(file, 2)
    prediction_is_whole(file)
    return read_npz(file)


@lru_cache
def _trainer() -> Any:
    from cellgennet_qupath.training.student import StudentTrainer

    shape = StudentConfig(architecture="unet", width=4, levels=2, patch=64)
    return StudentTrainer(shape, LossConfig(), PseudoConfig(), 8, 0)


def _checkpoint_seeds(folder: Path) -> list[bytes]:
    _trainer().save_checkpoint(folder / "c.safetensors", [{"total": 1.0}])
    return [(folder / "c.safetensors").read_bytes()]


def _plain_seeds(_: Path) -> list[bytes]:
    document = with_checksum({"thresholds": {"prob": 0.5}, "scores": {"pq": 0.5}, "files": {"a": "b"}})
    return [json.dumps(document).encode(), json.dumps([{"loss": 1.5, "validation": 2.0}]).encode()]


def _run_seeds(_: Path) -> list[bytes]:
    content = {
        "identity": "0" * 64,
        "begun": "2026-01-01T00:00:00Z",
        "config": Config().model_dump(mode="json"),
    }
    return [yaml.safe_dump(with_checksum(content)).encode()]


def _teacher_seeds(_: Path) -> list[bytes]:
    config = {"n_rays": 32, "grid": [2, 2], "unet_n_depth": 3, "unet_n_filter_base": 32, "n_channel_in": 3}
    return [json.dumps(config | {"axes": "YXC", "train_patch_size": [160, 160]}).encode()]


def _read_teacher(folder: Path, data: bytes) -> object:
    (folder / "config.json").write_bytes(data)
    return check_stardist_folder(folder, "")


READERS = {
    "qpdata": Reader(_qpdata_seeds, _in_file("data.qpdata", read_qpdata)),
    "qpproj": Reader(_project_seeds, _in_file("project.qpproj", read_project)),
    "qpdata with annotations": Reader(
        _annotated_seeds, _in_file("data.qpdata", read_qpdata), held=_annotations_held
    ),
    "annotations": Reader(_geojson_seeds, _in_file("1.geojson", read_objects), held=_features_held),
    "annotations.gz": Reader(
        _geojson_seeds, _in_file("1.geojson.gz", read_objects), gzipped=True, held=_features_held
    ),
    "predictions": Reader(_prediction_seeds, _in_file("1.geojson", _read_predictions)),
    "detections": Reader(_detections_seeds, _read_detections, gzipped=True),
    "card": Reader(_card_seeds, _read_card),
    "settings": Reader(_settings_seeds, _in_file("c.yaml", load_config)),
    "record": Reader(_record_seeds, _read_record, errors=()),
    "tile": Reader(_tile_seeds, _read_tile, errors=()),
    "arrays": Reader(_arrays_seeds, _read_arrays, errors=(DamagedArraysError,)),
    "student checkpoint": Reader(
        _checkpoint_seeds, _in_file("c.safetensors", lambda file: _trainer().load_checkpoint(file))
    ),
    "plain values": Reader(_plain_seeds, _in_file("teacher.json", read_json), errors=()),
    "run record": Reader(_run_seeds, _in_file("run.yaml", _stored_identity), errors=()),
    "teacher config": Reader(_teacher_seeds, _read_teacher),
}
