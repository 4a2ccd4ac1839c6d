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
from cellgennet_qupath.core.config import Config, TeacherConfig
from cellgennet_qupath.core.errors import CalibrationError, EntryDataError, SupervisionError
from cellgennet_qupath.evaluation.predictors import (
    ClassicalBaseline,
    PrecomputedPredictor,
    StudentPredictor,
    TeacherPredictor,
)
from cellgennet_qupath.evaluation.regions import EvaluationRegion, folder_regions
from cellgennet_qupath.geometry.contours import label_polygons
from cellgennet_qupath.metrics.scores import score
from cellgennet_qupath.nuclei import Nuclei
from cellgennet_qupath.qupath.formats.detections import write_detections
from cellgennet_qupath.segmentation.model import Model


@pytest.fixture
def field(tmp_path: Path, labelled_folder: Callable[[Path, int], Path]) -> EvaluationRegion:
    return folder_regions(labelled_folder(tmp_path / "data", 1), mpp=0.5)[0]


def test_the_classical_method_finds_dark_discs(field: EvaluationRegion) -> None:
    true, _ = field.truth()
    found = ClassicalBaseline().predict(field, field.pixels())
    assert score(true, found.labels).counts[0.5].f1 > 0.9
    assert len(found.probability) == found.labels.max()
    assert np.isnan(found.probability).all()


def test_the_classical_method_on_nothing(field: EvaluationRegion) -> None:
    found = ClassicalBaseline().predict(field, np.full((160, 160, 3), 240, np.uint8))
    assert not found.labels.any()


def test_the_student_runs_as_in_segmentation(field: EvaluationRegion, untrained: Bundle) -> None:
    found = StudentPredictor("s", Model.from_bundle(untrained, 1)).predict(field, field.pixels())
    assert found.labels.shape == (160, 160)
    assert found.labels.max() <= len(found.probability)
    assert ((found.probability >= 0) & (found.probability <= 1)).all()


def test_a_calibrated_student_needs_a_pixel_size(
    tmp_path: Path, untrained: Bundle, labelled_folder: Callable[[Path, int], Path]
) -> None:
    uncalibrated = folder_regions(labelled_folder(tmp_path, 1))[0]
    with pytest.raises(CalibrationError, match="--mpp"):
        StudentPredictor("s", Model.from_bundle(untrained, 1)).predict(uncalibrated, uncalibrated.pixels())


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("mpp", [0.5, 1.0])
def test_the_teacher_at_its_own_resolution(tmp_path: Path, field: EvaluationRegion, mpp: float) -> None:
    from cellgennet_qupath.networks.stardist import Teacher

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


def test_label_images_of_others(tmp_path: Path, field: EvaluationRegion) -> None:
    true, _ = field.truth()
    for name in ("field 0.png", "field 0.tif"):
        cv2.imwrite(str(tmp_path / name), true.astype(np.uint16))
        assert (PrecomputedPredictor("o", tmp_path).predict(field, field.pixels()).labels == true).all()
        (tmp_path / name).unlink()
    cv2.imwrite(str(tmp_path / "field 0.png"), true[:50].astype(np.uint16))
    with pytest.raises(SupervisionError, match="full resolution"):
        PrecomputedPredictor("o", tmp_path).predict(field, field.pixels())


def test_a_missing_result_is_told(tmp_path: Path, field: EvaluationRegion) -> None:
    with pytest.raises(SupervisionError, match=r"no result for the image field 0\.png"):
        PrecomputedPredictor("o", tmp_path).predict(field, field.pixels())


def test_geojson_of_this_tool_and_of_others(tmp_path: Path, field: EvaluationRegion) -> None:
    true, _ = field.truth()
    polygons = label_polygons(true)
    probability = np.linspace(0.2, 0.9, len(polygons))
    (tmp_path / "ours").mkdir()
    write_detections(tmp_path / "ours" / "field 0.geojson.gz", Nuclei.from_polygons(polygons, probability))
    ours = PrecomputedPredictor("o", tmp_path / "ours").predict(field, field.pixels())
    assert score(true, ours.labels).pq > 0.97
    assert ours.probability == pytest.approx(probability, abs=1e-3)
    features = [{"type": "Feature", "geometry": json.loads(shapely.to_geojson(p))} for p in polygons]
    features.append({"type": "Feature", "geometry": {"type": "Point", "coordinates": [1, 1]}})
    (tmp_path / "field 0.geojson").write_text(json.dumps(features), encoding="utf-8")
    theirs = PrecomputedPredictor("t", tmp_path).predict(field, field.pixels())
    assert (theirs.labels == ours.labels).all()
    assert np.isnan(theirs.probability).all()
    (tmp_path / "field 0.geojson").write_text('[{"type": "Feature"}]', encoding="utf-8")
    with pytest.raises(EntryDataError, match="without a geometry"):
        PrecomputedPredictor("t", tmp_path).predict(field, field.pixels())
