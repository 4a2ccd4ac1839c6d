"""Perfect results in the conventions of other tools score as perfect, or are named for what they are."""

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
import tifffile
from numpy.typing import NDArray

from cellgennet_qupath.core.errors import CellGenNetError, EntryDataError, SupervisionError
from cellgennet_qupath.evaluation.precomputed import PrecomputedPredictor
from cellgennet_qupath.evaluation.regions import EvaluationRegion, folder_regions
from cellgennet_qupath.evaluation.result_outlines import read_result_outlines, through_pixel_centres
from cellgennet_qupath.geometry.contours import label_polygons
from cellgennet_qupath.geometry.raster import rasterize
from cellgennet_qupath.metrics.scores import score
from cellgennet_qupath.nuclei import Nuclei
from cellgennet_qupath.qupath.formats.detections import write_detections

Feature = dict[str, Any]


@pytest.fixture
def regions(tmp_path: Path, labelled_folder: Callable[[Path, int], Path]) -> list[EvaluationRegion]:
    return folder_regions(labelled_folder(tmp_path / "data", 2), mpp=0.5)


@pytest.fixture
def results(tmp_path: Path) -> Path:
    (tmp_path / "results").mkdir()
    return tmp_path / "results"


def truth(region: EvaluationRegion) -> NDArray[np.int32]:
    return region.truth()[0]


def drawn(geometry: shapely.Geometry) -> Feature:
    parsed: Feature = json.loads(shapely.to_geojson(geometry))
    return parsed


def feature(geometry: shapely.Geometry, kind: str = "detection", name: str = "", **more: Any) -> Feature:
    properties: Feature = {"objectType": kind}
    if name:
        properties["classification"] = {"name": name, "color": [1, 2, 3]}
    return {"type": "Feature", "geometry": drawn(geometry), "properties": properties, **more}


def save(file: Path, features: list[Feature]) -> None:
    file.write_text(json.dumps({"type": "FeatureCollection", "features": features}), encoding="utf-8")


def save_for_all(results: Path, regions: list[EvaluationRegion], write: Callable[..., list[Feature]]) -> None:
    for region in regions:
        save(results / f"{region.name}.geojson", write(label_polygons(truth(region))))


def pq(results: Path, region: EvaluationRegion) -> float:
    predicted = PrecomputedPredictor("tool", results).predict(region, region.pixels())
    return score(truth(region), predicted.labels).pq


def cells(polygons: NDArray[np.object_]) -> list[Feature]:
    return [feature(p.buffer(9), "cell", nucleusGeometry=drawn(p)) for p in polygons]


def two_classes(polygons: NDArray[np.object_]) -> list[Feature]:
    return [feature(shapely.MultiPolygon(list(polygons[i::2])), "annotation", f"C{i}") for i in (0, 1)]


def collections(polygons: NDArray[np.object_]) -> list[Feature]:
    return [
        feature(shapely.GeometryCollection([p, shapely.centroid(p), p.exterior])) for p in polygons
    ]  # fmt: skip


def nuclei_and_cells(polygons: NDArray[np.object_]) -> list[Feature]:
    return [f for p in polygons for f in (feature(p.buffer(9), name="Cells"), feature(p, name="Nuclei"))]


def inside_an_annotation(polygons: NDArray[np.object_]) -> list[Feature]:
    region = feature(shapely.box(0, 0, 160, 160), "annotation", "Tumor")
    region["properties"]["childObjects"] = [feature(p) for p in polygons]
    return [region]


def beside_tiles(polygons: NDArray[np.object_]) -> list[Feature]:
    tiles = [
        feature(shapely.box(x, y, x + 40, y + 40), "tile")
        for x in range(0, 160, 40)
        for y in range(0, 160, 40)
    ]
    return [*tiles, *map(feature, polygons)]


def on_plane(polygon: shapely.Geometry, z: int, t: int) -> Feature:
    made = feature(polygon)
    made["geometry"]["plane"] = {"c": -1, "z": z, "t": t}
    return made


def of_a_stack(polygons: NDArray[np.object_]) -> list[Feature]:
    moved = [shapely.transform(polygon, lambda xy: xy + 5) for polygon in polygons]
    others = [on_plane(polygon, 3 * (row % 2), 1 - row % 2) for row, polygon in enumerate(moved)]
    return [*others, *(on_plane(polygon, 0, 0) for polygon in polygons)]


def through_gdal(polygons: NDArray[np.object_]) -> list[Feature]:
    features = nuclei_and_cells(polygons)
    for one in features:
        properties = one["properties"]
        properties["measurements"] = json.dumps({"Detection probability": 0.25})
        properties["classification"] = json.dumps(properties["classification"])
    return features


def exported_annotations(polygons: NDArray[np.object_]) -> list[Feature]:
    regions = [feature(shapely.box(9, 9, 99, 99), "annotation", name) for name in ("Validation", "Ignore*")]
    background = feature(shapely.box(0, 0, 30, 30), "annotation", "Background")
    return [*regions, background, *(feature(p, "annotation", "Tumor") for p in polygons)]


def inside_tissue(polygons: NDArray[np.object_]) -> list[Feature]:
    return [feature(shapely.box(0, 0, 160, 160), "annotation"), *(feature(p, "annotation") for p in polygons)]


def beside_points(polygons: NDArray[np.object_]) -> list[Feature]:
    return [*map(feature, polygons), feature(shapely.Point(9, 9)), feature(shapely.MultiPoint([(1, 1)]))]


@pytest.mark.parametrize(
    ("write", "said"),
    [
        (cells, r"tool: of {n} cells the nucleus is compared, not the cell\."),
        (two_classes, r"outlines of several parts are taken as {n} nuclei"),
        (collections, None),
        (nuclei_and_cells, r"{n} outlines of class Cells are left out"),
        (through_gdal, r"{n} outlines of class Cells are left out"),
        (inside_an_annotation, r"2 annotations are left out, since there are detections"),
        (beside_tiles, r"32 tiles are left out, since there are other detections"),
        (exported_annotations, r"6 annotations of regions .* are left out"),
        (inside_tissue, r"2 annotations around several nuclei are left out"),
        (of_a_stack, "{n} outlines of other z-slices or time points than the first are left out"),
        (beside_points, r"4 features without an outline \(points, lines\) are left out"),
        (lambda polygons: [feature(p, "annotation") for p in polygons], None),
        (lambda polygons: [feature(p, "DETECTION") for p in polygons], None),
        (lambda polygons: [feature(p, "cell") for p in polygons], "{n} cells have no nucleus"),
    ],
)
def test_perfect_results_are_perfect(
    results: Path,
    regions: list[EvaluationRegion],
    write: Callable[..., list[Feature]],
    said: str | None,
) -> None:
    save_for_all(results, regions, write)
    sentences = PrecomputedPredictor("tool", results).check(regions)
    assert [pq(results, region) > 0.97 for region in regions] == [True, True]
    if said is None:
        assert sentences == []
    else:
        assert len(sentences) == 1
        count = sum(int(truth(region).max()) for region in regions)
        with pytest.raises(AssertionError, match=said.replace("{n}", str(count))):
            raise AssertionError(sentences[0])


def test_probabilities_of_which_gdal_made_a_text(tmp_path: Path) -> None:
    save(tmp_path / "a.geojson", through_gdal(np.array([shapely.box(0, 0, 9, 9)], dtype=object)))
    assert read_result_outlines(tmp_path / "a.geojson").probability.tolist() == [0.25]


def test_our_own_cells_are_compared_by_their_nuclei(results: Path, regions: list[EvaluationRegion]) -> None:
    region = regions[0]
    polygons = label_polygons(truth(region))
    grown: NDArray[np.object_] = np.array([p.buffer(6) for p in polygons], dtype=object)
    nuclei = replace(Nuclei.from_polygons(polygons, np.full(len(polygons), 0.5)), cells=grown)
    write_detections(results / "field 0.geojson.gz", nuclei)
    assert pq(results, region) > 0.97


@pytest.mark.parametrize(
    ("features", "words"),
    [
        ([feature(shapely.Point(3, 4))] * 3, r"holds 3 features but no outline of a nucleus \(3 Point\)"),
        ([feature(shapely.LineString([(0, 0), (5, 5)]))], "1 LineString"),
        ([feature(shapely.GeometryCollection([shapely.Point(1, 1)]))], "1 GeometryCollection"),
        ([{"type": "Feature", "geometry": None}], "1 without geometry"),
        ([feature(shapely.box(0, 0, 90, 90), "tmaCore")], "1 tmaCore"),
        ([on_plane(shapely.box(0, 0, 9, 9), 2, 0)], "1 on other planes"),
    ],
)
def test_features_without_an_outline_are_not_taken_for_no_nuclei(
    results: Path, regions: list[EvaluationRegion], features: list[Feature], words: str
) -> None:
    for region in regions:
        save(results / f"{region.name}.geojson", features)
    with pytest.raises(SupervisionError, match=words):
        PrecomputedPredictor("tool", results).check(regions)


def test_a_file_without_features_means_no_nucleus(results: Path, regions: list[EvaluationRegion]) -> None:
    for region in regions:
        save(results / f"{region.name}.geojson", [])
    predictor = PrecomputedPredictor("tool", results)
    assert predictor.check(regions) == []
    assert not predictor.predict(regions[0], regions[0].pixels()).labels.any()


def test_a_small_part_beside_its_nucleus_is_not_one_of_its_own(tmp_path: Path) -> None:
    whole = shapely.Point(30, 30).buffer(10)
    near, far = shapely.box(40.2, 30, 42.2, 31), shapely.box(60, 60, 62, 61)
    save(tmp_path / "a.geojson", [feature(shapely.MultiPolygon([whole, near, far]))])
    found = read_result_outlines(tmp_path / "a.geojson")
    assert sorted(shapely.area(found.polygons).round(1)) == [2, round(whole.area + 2, 1)]
    assert found.counts["parts"] == 2


@pytest.mark.parametrize("apart", [10.0, 8.0])
def test_merged_outlines_that_touch_or_overlap_are_separated(tmp_path: Path, apart: float) -> None:
    squares = [shapely.box(x, 0, x + 10, 10) for x in (0, apart, 40)]
    save(tmp_path / "a.geojson", [feature(shapely.MultiPolygon(squares), "annotation")])
    found = read_result_outlines(tmp_path / "a.geojson")
    assert shapely.area(found.polygons).tolist() == [100, 100, 100]
    assert found.counts["parts"] == 3


def test_large_outlines_that_a_tool_predicts_count_against_it(tmp_path: Path) -> None:
    nuclei = [shapely.box(x, 0, x + 10, 10) for x in range(0, 100, 20)]
    save(tmp_path / "a.geojson", [feature(one) for one in [shapely.box(0, 0, 100, 100), *nuclei]])
    assert len(read_result_outlines(tmp_path / "a.geojson").polygons) == 6
    save(
        tmp_path / "b.geojson",
        [feature(one, "annotation") for one in [shapely.box(200, 0, 300, 99), *nuclei]],
    )
    assert len(read_result_outlines(tmp_path / "b.geojson").polygons) == 6


def test_results_under_two_names_of_an_image_are_refused(
    results: Path, regions: list[EvaluationRegion]
) -> None:
    save_for_all(results, regions, lambda polygons: list(map(feature, polygons)))
    check = PrecomputedPredictor("tool", results).check
    assert check(regions) == []
    # The picture beside the result of an image of a project, and the result of an image of another name.
    named = [replace(region, keys=(f"{region.name}.png", region.name, "7")) for region in regions]
    for region in named:
        (results / f"{region.name}.geojson").rename(results / f"{region.name}.png.geojson")
    for other in ("field 0.png", "7.geojson", "7.png", "other.geojson"):
        (results / other).write_bytes(b"")
    assert check(named) == []
    (results / "field 0.png").unlink()
    save(results / "field 0.geojson", [])
    with pytest.raises(SupervisionError, match=r"two results .* field 0.png.geojson and field 0.geojson"):
        check(named)


def test_names_as_cellpose_writes_them(results: Path, regions: list[EvaluationRegion]) -> None:
    """Beside the masks are the pictures themselves; an image without nuclei has no PNG of masks."""
    for region in regions:
        cv2.imwrite(str(results / f"{region.name}.png"), region.pixels())
        np.save(results / f"{region.name}_seg.npy", np.array({"masks": 0}, object), allow_pickle=True)
    masks = results / "field 0_cp_masks.png"
    cv2.imwrite(str(masks), truth(regions[0]).astype(np.uint16))
    predictor = PrecomputedPredictor("cellpose", results)
    (sentence,) = predictor.check(regions)
    assert sentence == (
        "cellpose: no file for field 1.png: taken as no nucleus, as Cellpose writes none then."
    )
    assert pq(results, regions[0]) == 1
    nothing = predictor.predict(regions[1], regions[1].pixels())
    assert nothing.labels.shape == (160, 160)
    assert not nothing.labels.any()
    assert len(nothing.probability) == 0
    masks.rename(masks.with_suffix(".tif"))  # which Cellpose writes in any case
    with pytest.raises(SupervisionError, match=r"no result for the image field 1\.png: field 1_seg\.npy is"):
        predictor.check(regions)


def test_names_as_instanseg_writes_them(results: Path, regions: list[EvaluationRegion]) -> None:
    for number, region in enumerate(regions):
        nuclei = truth(region)
        planes = np.stack([nuclei, cv2.dilate(nuclei.astype(np.uint16), np.ones((9, 9)))]).astype(np.int32)
        tifffile.imwrite(results / f"{region.name}_instanseg_prediction.tiff", nuclei if number else planes)
    predictor = PrecomputedPredictor("instanseg", results)
    (sentence,) = predictor.check(regions)
    assert "of the two planes of 1 label images, the first is read" in sentence
    assert [pq(results, region) for region in regions] == [1, 1]
    (results / "field 1_instanseg_prediction.tiff").unlink()
    with pytest.raises(SupervisionError, match=r"no result for the image field 1\.png"):
        predictor.check(regions)


def test_two_planes_of_another_tool_are_refused(results: Path, regions: list[EvaluationRegion]) -> None:
    tifffile.imwrite(results / "field 0.tif", np.stack([truth(regions[0])] * 2))
    with pytest.raises(SupervisionError, match="several channels or planes"):
        PrecomputedPredictor("tool", results).check(regions[:1])


COCO = {"images": [{"id": 1}], "annotations": [], "categories": []}
COCO_RESULTS = [{"image_id": 1, "category_id": 1, "segmentation": []}]
HOVERNET = {"mag": 40, "nuc": {"1": {"contour": [[1, 2]]}}}


@pytest.mark.parametrize("content", [COCO, COCO_RESULTS, HOVERNET, {"cells": [], "type_map": {}}])
@pytest.mark.parametrize("name", ["field 0.json", "all.json"])
def test_other_json_is_named(
    results: Path, regions: list[EvaluationRegion], content: object, name: str
) -> None:
    (results / name).write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(CellGenNetError, match=r"COCO|HoVer-Net|CellViT") as caught:
        PrecomputedPredictor("tool", results).check(regions)
    assert name in str(caught.value)
    assert "without a geometry" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("field 0_seg.npy", "Cellpose's working file.+ not opened.+Save the masks"),
        ("field 0_cp_outlines.txt", "Cellpose's outlines as text"),
        ("field 0.mat", "a MATLAB file.+inst_map"),
        ("field 0.xml", "an XML file.+QuPath"),
        ("field 0.db", "a database"),
    ],
)
def test_files_that_are_not_read_are_named(
    results: Path, regions: list[EvaluationRegion], name: str, words: str
) -> None:
    (results / name).touch()
    with pytest.raises(SupervisionError, match=rf"field 0\.png: {name} is {words}"):
        PrecomputedPredictor("tool", results).check(regions)


def opencv(labels: NDArray[np.int32], method: int) -> list[Feature]:
    outlines = []
    for number in range(1, int(labels.max()) + 1):
        contours, _ = cv2.findContours((labels == number).astype(np.uint8), cv2.RETR_EXTERNAL, method)
        outlines.append(feature(shapely.Polygon(max(contours, key=len)[:, 0])))
    return outlines


@pytest.mark.parametrize("method", [cv2.CHAIN_APPROX_NONE, cv2.CHAIN_APPROX_SIMPLE])
def test_outlines_through_pixel_centres_are_named(
    results: Path, regions: list[EvaluationRegion], method: int
) -> None:
    for region in regions:
        save(results / f"{region.name}.geojson", opencv(truth(region), method))
    (sentence,) = PrecomputedPredictor("tool", results).check(regions)
    assert sentence.startswith(
        "tool: the outlines in field 0.geojson, field 1.geojson seem to run through pixel"
    )
    assert pq(results, regions[0]) < 0.92, "the reason for the sentence"


def test_outlines_along_pixels_or_drawn_by_hand_are_not() -> None:
    disc = np.hypot(*np.mgrid[-20:21, -20:21]) < 12
    traced = label_polygons(disc.astype(np.int32))
    ellipse = shapely.Point(50, 50).buffer(12, quad_segs=8)
    by_hand = shapely.transform(ellipse, np.rint)
    box, octagon = shapely.box(3, 3, 20, 20), shapely.Point(0, 0).buffer(9, quad_segs=2)
    for outlines in ([*traced], [ellipse], [by_hand], [box], [octagon], []):
        assert not through_pixel_centres(np.array(outlines, dtype=object))


def test_damaged_nuclei_of_cells_are_reported(results: Path, regions: list[EvaluationRegion]) -> None:
    broken = feature(shapely.box(0, 0, 9, 9), "cell", nucleusGeometry={"type": "Polygon"})
    save(results / "field 0.geojson", [broken])
    with pytest.raises(EntryDataError, match="without a geometry"):
        PrecomputedPredictor("tool", results).check(regions[:1])


def test_what_outlines_through_pixel_centres_cost() -> None:
    """The figure in docs/evaluation.md."""
    disc = (np.hypot(*np.mgrid[-20:21, -20:21]) < 11).astype(np.int32)
    (outline,) = opencv(disc, cv2.CHAIN_APPROX_NONE)
    drawn_again = rasterize([shapely.from_geojson(json.dumps(outline["geometry"]))], disc.shape)
    assert score(disc, drawn_again).pq == pytest.approx(0.89, abs=0.02)
