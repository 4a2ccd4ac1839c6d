"""All predictors, on images whose nuclei are known."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import shapely

from cellgennet_qupath.bundle import Bundle, Card, now, write_bundle
from cellgennet_qupath.core.config import Config, TeacherConfig
from cellgennet_qupath.core.errors import (
    CalibrationError,
    EntryDataError,
    MissingExtraError,
    SupervisionError,
    UsageError,
)
from cellgennet_qupath.evaluation.precomputed import PrecomputedPredictor
from cellgennet_qupath.evaluation.predictors import (
    ClassicalBaseline,
    SlideColours,
    StudentPredictor,
    TeacherPredictor,
    predictors_for,
)
from cellgennet_qupath.evaluation.regions import EvaluationRegion, folder_regions
from cellgennet_qupath.geometry.contours import label_polygons
from cellgennet_qupath.metrics.scores import score
from cellgennet_qupath.nuclei import Nuclei
from cellgennet_qupath.qupath.formats.detections import write_detections
from cellgennet_qupath.segmentation.model import Model
from cellgennet_qupath.slides.normalisation import Normalisation, estimate
from cellgennet_qupath.slides.reader import SlideReader
from tests.helpers import Recorder


@pytest.fixture
def region(tmp_path: Path, labelled_folder: Callable[[Path, int], Path]) -> EvaluationRegion:
    return folder_regions(labelled_folder(tmp_path / "data", 1), mpp=0.5)[0]


def test_the_classical_baseline_segments_dark_discs(region: EvaluationRegion) -> None:
    true, _ = region.truth()
    prediction = ClassicalBaseline().predict(region, region.pixels())
    assert score(true, prediction.labels).counts[0.5].f1 > 0.9
    assert len(prediction.probability) == prediction.labels.max()
    assert np.isnan(prediction.probability).all()


def test_the_classical_baseline_on_an_empty_image(region: EvaluationRegion) -> None:
    prediction = ClassicalBaseline().predict(region, np.full((160, 160, 3), 240, np.uint8))
    assert not prediction.labels.any()


def test_the_student_predicts_as_in_segmentation(region: EvaluationRegion, untrained: Bundle) -> None:
    prediction = StudentPredictor("s", Model.from_bundle(untrained, 1)).predict(region, region.pixels())
    assert prediction.labels.shape == (160, 160)
    assert prediction.labels.max() <= len(prediction.probability)
    assert ((prediction.probability >= 0) & (prediction.probability <= 1)).all()


def test_a_calibrated_student_needs_a_pixel_size(
    tmp_path: Path, untrained: Bundle, labelled_folder: Callable[[Path, int], Path]
) -> None:
    uncalibrated = folder_regions(labelled_folder(tmp_path, 1))[0]
    with pytest.raises(CalibrationError, match="--mpp"):
        StudentPredictor("s", Model.from_bundle(untrained, 1)).predict(uncalibrated, uncalibrated.pixels())


@pytest.mark.slow
@pytest.mark.parametrize("mpp", [0.5, 1.0])
def test_the_teacher_at_its_own_resolution(tmp_path: Path, region: EvaluationRegion, mpp: float) -> None:
    from cellgennet_qupath.networks.stardist_process import StarDistProcess

    config = TeacherConfig(filters=4, depth=2, rays=8)
    with StarDistProcess(tmp_path / "teacher", config) as teacher:
        teacher.save({"prob": 0.3, "nms": 0.3})
    card = Card(
        name="t",
        created=now(),
        mpp=mpp,
        teacher_thresholds={"prob": 0.45, "nms": 0.3},
        config=Config(teacher=config).model_dump(mode="json"),
    )
    bundle = write_bundle(tmp_path / "t.cgn", card, {"teacher": tmp_path / "teacher"})
    prediction = TeacherPredictor("t", bundle, 1).predict(region, region.pixels())
    assert prediction.labels.shape == (160, 160)
    assert prediction.labels.max() <= len(prediction.probability)
    assert (prediction.probability >= 0.45).all()


def test_label_images_of_other_tools(tmp_path: Path, region: EvaluationRegion) -> None:
    true, _ = region.truth()
    for name in ("field 0.png", "field 0.tif"):
        cv2.imwrite(str(tmp_path / name), true.astype(np.uint16))
        assert (PrecomputedPredictor("o", tmp_path).predict(region, region.pixels()).labels == true).all()
        (tmp_path / name).unlink()
    cv2.imwrite(str(tmp_path / "field 0.png"), true[:50].astype(np.uint16))
    with pytest.raises(SupervisionError, match="full resolution"):
        PrecomputedPredictor("o", tmp_path).predict(region, region.pixels())


def test_a_missing_result_is_reported(tmp_path: Path, region: EvaluationRegion) -> None:
    with pytest.raises(SupervisionError, match=r"no result for the image field 0\.png"):
        PrecomputedPredictor("o", tmp_path).predict(region, region.pixels())


def test_geojson_of_this_tool_and_of_other_tools(tmp_path: Path, region: EvaluationRegion) -> None:
    true, _ = region.truth()
    polygons = label_polygons(true)
    probability = np.linspace(0.2, 0.9, len(polygons))
    (tmp_path / "ours").mkdir()
    write_detections(tmp_path / "ours" / "field 0.geojson.gz", Nuclei.from_polygons(polygons, probability))
    ours = PrecomputedPredictor("o", tmp_path / "ours").predict(region, region.pixels())
    assert score(true, ours.labels).pq > 0.97
    assert ours.probability == pytest.approx(probability, abs=1e-3)
    features = [{"type": "Feature", "geometry": json.loads(shapely.to_geojson(p))} for p in polygons]
    features.append({"type": "Feature", "geometry": {"type": "Point", "coordinates": [1, 1]}})
    (tmp_path / "field 0.geojson").write_text(json.dumps(features), encoding="utf-8")
    theirs = PrecomputedPredictor("t", tmp_path).predict(region, region.pixels())
    assert (theirs.labels == ours.labels).all()
    assert np.isnan(theirs.probability).all()
    (tmp_path / "field 0.geojson").write_text('[{"type": "Feature"}]', encoding="utf-8")
    with pytest.raises(EntryDataError, match="without a geometry"):
        PrecomputedPredictor("t", tmp_path).predict(region, region.pixels())


def test_methods_have_unique_names(tmp_path: Path, untrained: Bundle) -> None:
    names = [one.name for one in predictors_for([untrained, untrained], {"untrained": tmp_path}, threads=1)]
    assert names == ["untrained (2)", "untrained (3)", "untrained", "classical"]
    with pytest.raises(UsageError, match="built-in baseline"):
        predictors_for([untrained], {"classical": tmp_path}, threads=1)
    (own,) = predictors_for([], {"classical": tmp_path}, classical=False)
    assert own.name == "classical"


def test_without_stardist_the_teacher_is_skipped_unless_it_is_all_there_is(
    tmp_path: Path, untrained: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cellgennet_qupath.core.extras.util.find_spec", lambda name: None)
    (tmp_path / "teacher").mkdir()
    (tmp_path / "teacher" / "config.json").write_text("{}", encoding="utf-8")
    files = {"teacher": tmp_path / "teacher"}
    both = write_bundle(
        tmp_path / "b.cgn", untrained.card, files | {"student.safetensors": untrained.student}
    )
    listener = Recorder()
    predictors = predictors_for([both], {}, classical=False, threads=1, reporter=listener)
    assert [one.name for one in predictors] == ["untrained"]
    assert 'pip install "cellgennet-qupath[train]"' in listener.warnings[0]
    alone = write_bundle(tmp_path / "t.cgn", untrained.card, files)
    with pytest.raises(MissingExtraError, match="teacher of untrained"):
        predictors_for([alone], {}, classical=False)


def test_the_colours_of_a_slide_are_estimated_once_for_all_its_regions(
    region: EvaluationRegion, untrained: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[float] = []

    def counting(reader: SlideReader, downsample: float, *rest: Any) -> Normalisation:
        calls.append(downsample)
        return estimate(reader, downsample, *rest)

    monkeypatch.setattr("cellgennet_qupath.evaluation.predictors.estimate", counting)
    colours, config = SlideColours(), untrained.config.normalisation
    with region.open() as reader:
        first = colours.of(region, reader, 1.0, config)
        assert colours.of(replace(region, name="another"), reader, 1.0, config) is first
        assert calls == [1.0]
        colours.of(region, reader, 2.0, config)
        colours.of(replace(region, mpp=0.7), reader, 2.0, config)
    assert calls == [1.0, 2.0, 2.0]
