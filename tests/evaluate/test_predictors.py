"""Everyone who is evaluated, on pictures whose nuclei are known."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import shapely

from cellgennet_qupath.bundle import Bundle, Card, now, write_bundle
from cellgennet_qupath.config import Config, TeacherConfig
from cellgennet_qupath.engine.model import Model
from cellgennet_qupath.errors import CalibrationError, EntryDataError, SupervisionError
from cellgennet_qupath.evaluate.fields import Field, folder_fields
from cellgennet_qupath.evaluate.metrics import score
from cellgennet_qupath.evaluate.predictors import Classical, Files, Student, TeacherPredictor
from cellgennet_qupath.nuclei import Nuclei
from cellgennet_qupath.qupath.detections import write_detections
from cellgennet_qupath.student.polygons import label_polygons


@pytest.fixture
def field(tmp_path: Path, labelled_folder: Callable[[Path, int], Path]) -> Field:
    return folder_fields(labelled_folder(tmp_path / "data", 1), mpp=0.5)[0]


def test_the_classical_method_finds_dark_discs(field: Field) -> None:
    true, _ = field.truth()
    found = Classical().predict(field, field.pixels())
    assert score(true, found.labels).counts[0.5].f1 > 0.9
    assert len(found.probability) == found.labels.max()
    assert np.isnan(found.probability).all()


def test_the_classical_method_on_nothing(field: Field) -> None:
    found = Classical().predict(field, np.full((160, 160, 3), 240, np.uint8))
    assert not found.labels.any()


def test_the_student_runs_as_in_segmentation(field: Field, untrained: Bundle) -> None:
    found = Student("s", Model.from_bundle(untrained, 1)).predict(field, field.pixels())
    assert found.labels.shape == (160, 160)
    assert found.labels.max() <= len(found.probability)
    assert ((found.probability >= 0) & (found.probability <= 1)).all()


def test_a_calibrated_student_needs_a_pixel_size(
    tmp_path: Path, untrained: Bundle, labelled_folder: Callable[[Path, int], Path]
) -> None:
    uncalibrated = folder_fields(labelled_folder(tmp_path, 1))[0]
    with pytest.raises(CalibrationError, match="--mpp"):
        Student("s", Model.from_bundle(untrained, 1)).predict(uncalibrated, uncalibrated.pixels())


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("mpp", [0.5, 1.0])
def test_the_teacher_at_its_own_resolution(tmp_path: Path, field: Field, mpp: float) -> None:
    from cellgennet_qupath.teacher.model import Teacher

    config = TeacherConfig(filters=4, depth=2, rays=8)
    made = Teacher(tmp_path / "teacher", config)
    made.save({"prob": 0.3, "nms": 0.3})
    card = Card(
        name="t",
        created=now(),
        mpp=mpp,
        teacher_thresholds={"prob": 0.45, "nms": 0.3},
        config=Config(teacher=config).model_dump(mode="json"),
    )
    bundle = write_bundle(tmp_path / "t.cgn", card, {"teacher": tmp_path / "teacher"})
    found = TeacherPredictor("t", bundle, 1).predict(field, field.pixels())
    assert found.labels.shape == (160, 160)
    assert found.labels.max() <= len(found.probability)
    assert (found.probability >= 0.45).all()


def test_label_images_of_others(tmp_path: Path, field: Field) -> None:
    true, _ = field.truth()
    for name in ("field 0.png", "field 0.tif"):
        cv2.imwrite(str(tmp_path / name), true.astype(np.uint16))
        assert (Files("o", tmp_path).predict(field, field.pixels()).labels == true).all()
        (tmp_path / name).unlink()
    cv2.imwrite(str(tmp_path / "field 0.png"), true[:50].astype(np.uint16))
    with pytest.raises(SupervisionError, match="full resolution"):
        Files("o", tmp_path).predict(field, field.pixels())


def test_a_missing_result_is_told(tmp_path: Path, field: Field) -> None:
    with pytest.raises(SupervisionError, match=r"no result for the image field 0\.png"):
        Files("o", tmp_path).predict(field, field.pixels())


def test_geojson_of_this_tool_and_of_others(tmp_path: Path, field: Field) -> None:
    true, _ = field.truth()
    polygons = label_polygons(true)
    probability = np.linspace(0.2, 0.9, len(polygons))
    (tmp_path / "ours").mkdir()
    write_detections(tmp_path / "ours" / "field 0.geojson.gz", Nuclei.from_polygons(polygons, probability))
    ours = Files("o", tmp_path / "ours").predict(field, field.pixels())
    assert score(true, ours.labels).pq > 0.97
    assert ours.probability == pytest.approx(probability, abs=1e-3)
    features = [{"type": "Feature", "geometry": json.loads(shapely.to_geojson(p))} for p in polygons]
    features.append({"type": "Feature", "geometry": {"type": "Point", "coordinates": [1, 1]}})
    (tmp_path / "field 0.geojson").write_text(json.dumps(features), encoding="utf-8")
    theirs = Files("t", tmp_path).predict(field, field.pixels())
    assert (theirs.labels == ours.labels).all()
    assert np.isnan(theirs.probability).all()
    (tmp_path / "field 0.geojson").write_text('[{"type": "Feature"}]', encoding="utf-8")
    with pytest.raises(EntryDataError, match="without a geometry"):
        Files("t", tmp_path).predict(field, field.pixels())
