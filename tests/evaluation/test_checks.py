"""What can stop an evaluation is reported before any work, and part of the images never looks like all."""

from __future__ import annotations

import json
import shutil
import unicodedata
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import shapely
from numpy.typing import NDArray

from cellgennet_qupath import api
from cellgennet_qupath.bundle import Bundle
from cellgennet_qupath.core.errors import CellGenNetError, SlideError, SupervisionError
from cellgennet_qupath.evaluation.checks import check_inputs
from cellgennet_qupath.evaluation.precomputed import PrecomputedPredictor
from cellgennet_qupath.evaluation.prediction import Prediction
from cellgennet_qupath.evaluation.regions import EvaluationRegion, folder_regions
from cellgennet_qupath.evaluation.run import evaluate
from cellgennet_qupath.geometry.rectangle import Rectangle
from cellgennet_qupath.report.evaluation_files import check_output
from tests.drawn_tissue import Shaky
from tests.helpers import Recorder, invoke

Writer = Callable[[Path, int], Path]


@pytest.fixture
def data(tmp_path: Path, labelled_folder: Writer) -> Path:
    """A folder of three images, and in ``other/`` a result for each."""
    folder = labelled_folder(tmp_path / "data", 3)
    shutil.copytree(folder / "labels", tmp_path / "other")
    return folder


def _geojson(file: Path, *polygons: shapely.Geometry, **more: object) -> None:
    features = [{"type": "Feature", "geometry": json.loads(shapely.to_geojson(p)), **more} for p in polygons]
    file.write_text(json.dumps(features), encoding="utf-8")


def _earlier_report(folder: Path, name: str, is_folder: bool) -> None:
    """A report of which one part is a folder where a file should be, or the other way round."""
    folder.mkdir()
    (folder / "report.json").touch()
    if is_folder:
        (folder / name).mkdir()
    else:
        (folder / name).touch()


def _labels(file: Path) -> NDArray[np.int64]:
    return np.asarray(cv2.imread(str(file), cv2.IMREAD_UNCHANGED), np.int64)


def _swap(file: Path, other: Path, content: str) -> None:
    file.unlink()
    other.write_text(content, encoding="utf-8")


def _replaced(file: Path, content: bytes | NDArray[Any]) -> object:
    if isinstance(content, bytes):
        return file.write_bytes(content)
    return cv2.imwrite(str(file), np.asarray(content, np.uint16))


FAULTS: dict[str, tuple[Callable[[Path, Path], object], str]] = {
    "two images of one name": (
        lambda data, _: shutil.copyfile(data / "images/field 1.png", data / "images/field 1.tif"),
        r"holds two images of one name: field 1\.png and field 1\.tif",
    ),
    "two label images of one name": (
        lambda data, _: shutil.copyfile(data / "labels/field 2.png", data / "labels/field 2.TIF"),
        "holds two label images of one name: field 2",
    ),
    "no result for the last image": (
        lambda _, other: (other / "field 2.png").unlink(),
        r"no result for the image field 2\.png",
    ),
    "two results for an image": (
        lambda _, other: _geojson(other / "field 2.geojson"),
        r"two results for the image field 2\.png: field 2\.png and field 2\.geojson",
    ),
    "a result of the wrong size": (
        lambda _, other: _replaced(other / "field 2.png", np.ones((80, 80))),
        r"field 2\.png: differs in size .*\(80 x 80 px, 160 x 160 px\)",
    ),
    "a result that is cut off": (
        lambda _, other: _replaced(other / "field 2.png", (other / "field 2.png").read_bytes()[:40]),
        r"field 2\.png: cannot be read as a label image",
    ),
    "a result that is a mask": (
        lambda _, other: _replaced(other / "field 2.png", (_labels(other / "field 2.png") > 0) * 255),
        r"field 2\.png: looks like a binary mask",
    ),
    "damaged GeoJSON": (
        lambda _, other: (other / "field 2.png").rename(other / "field 2.geojson"),
        r"field 2\.geojson: ",
    ),
    "GeoJSON of no geometry": (
        lambda _, other: _swap(other / "field 2.png", other / "field 2.json", '[{"type": "Feature"}]'),
        r"field 2\.json: contains a feature without a geometry",
    ),
    "ground truth of another size": (
        lambda data, _: _replaced(data / "labels/field 2.png", np.ones((9, 9))),
        r"field 2\.png: differs in size from field 2\.png \(9 x 9 px, 160 x 160 px\)",
    ),
    "ground truth that is a picture": (
        lambda data, _: shutil.copyfile(data / "images/field 2.png", data / "labels/field 2.png"),
        "field 2.png: is not a label image",
    ),
    "no nucleus in any label image": (
        lambda data, _: [
            _replaced(data / f"labels/field {i}.png", np.zeros((160, 160))) for i in range(3)
        ],
        "has no outlined nucleus in its 3 images",
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("as_json", [[], ["--json"]], ids=["text", "json"])
def test_every_fault_is_reported_in_one_line_before_any_work(
    data: Path,
    untrained: Bundle,
    fault: str,
    as_json: list[str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("cellgennet_qupath.evaluation.predictors.predictors_for", None)  # would be called
    other, report = data.parent / "other", data.parent / "r"
    change, words = FAULTS[fault]
    change(data, other)
    code, out, err = invoke(
        capsys, "evaluate", data, "-m", untrained.path, "-o", report, "--mpp", 0.5,
        "--predictions", f"other={other}", *as_json,
    )  # fmt: skip
    assert (code, out) == (1, "")
    lines = [line for line in err.splitlines() if line.startswith("Error: ")]
    assert len(lines) == 1
    with pytest.raises(AssertionError, match=words):
        raise AssertionError(lines[0])
    assert "nternal error" not in err
    assert not report.exists()


@pytest.mark.parametrize(("checksum", "overlaps"), [(None, True), (None, False), ("0" * 64, True)])
def test_only_bundles_of_version_01_have_seen_nuclei_for_validation(
    data: Path, untrained: Bundle, checksum: str | None, overlaps: bool
) -> None:
    card = untrained.card.model_copy(update={"card_checksum": checksum})
    regions = folder_regions(data, mpp=0.5)
    listener = Recorder()
    first = replace(regions[0], overlaps_training=overlaps)
    check_inputs("data", [first, *regions[1:]], {}, [replace(untrained, card=card)], listener)
    seen = [line for line in listener.warnings if "regions for training (field 0)" in line]
    assert len(seen) == len(listener.warnings) == (checksum is None and overlaps)


def test_a_missing_pixel_size_is_reported_before_any_work(data: Path, untrained: Bundle) -> None:
    with pytest.raises(CellGenNetError, match="--mpp"):
        check_inputs("d", folder_regions(data), {}, [untrained])


def test_one_file_does_not_serve_two_images(tmp_path: Path, labelled_folder: Writer) -> None:
    for part in ("a", "b"):
        labelled_folder(tmp_path / part, 1)
    regions = folder_regions(tmp_path)
    results = tmp_path / "results"
    shutil.copytree(tmp_path / "a" / "labels", results)
    with pytest.raises(SupervisionError, match=r"two images: a/field 0 and b/field 0.+ a_field 0 and"):
        PrecomputedPredictor("o", results).check(regions)
    (results / "field 0.png").rename(results / "a_field 0.png")
    shutil.copyfile(results / "a_field 0.png", results / "b_field 0.PNG")
    assert PrecomputedPredictor("o", results).check(regions) == []


def test_names_match_however_accents_and_endings_are_written(tmp_path: Path, labelled_folder: Writer) -> None:
    folder = labelled_folder(tmp_path, 1)
    composed, two_parts = (unicodedata.normalize(form, "Röhre") for form in ("NFC", "NFD"))
    (folder / "images" / "field 0.png").rename(folder / "images" / f"{composed}.png")
    (folder / "labels" / "field 0.png").rename(folder / "labels" / f"{two_parts}.PNG")
    regions = folder_regions(folder)
    assert [r.name for r in regions] == [composed]
    for form in (composed, two_parts, f"{two_parts}_cp_masks"):
        results = tmp_path / form
        results.mkdir()
        shutil.copyfile(folder / "labels" / f"{two_parts}.PNG", results / f"{form}.png")
        assert PrecomputedPredictor("o", results).check(regions) == []
        assert PrecomputedPredictor("o", results).predict(regions[0], regions[0].pixels()).labels.any()


@pytest.mark.parametrize("second", [Rectangle(60, 40, 110, 80), Rectangle(60, 40, 100, 90)])
@pytest.mark.parametrize("ending", [".png", ".npy"])
def test_labels_of_one_region_are_not_taken_for_another(
    data: Path, tmp_path: Path, second: Rectangle, ending: str
) -> None:
    whole = folder_regions(data)[0]
    windows = [replace(whole, name=f"#{box.x0}", box=box) for box in (Rectangle(0, 0, 50, 40), second)]
    results = tmp_path / "crops"
    results.mkdir()

    def write(labels: NDArray[np.int64]) -> None:
        file = results / f"{whole.keys[0]}{ending}"
        np.save(file, labels) if ending == ".npy" else cv2.imwrite(str(file), labels.astype(np.uint16))

    predictor = PrecomputedPredictor("o", results)
    labels = _labels(data / "labels" / f"{whole.keys[0]}.png")
    write(labels[:40, :50])
    assert predictor.check(windows[:1]) == []
    with pytest.raises(SupervisionError, match=r"shows one region only, and .* has several"):
        predictor.check(windows)
    write(labels)
    assert predictor.check(windows) == []


def test_outlines_beside_the_image_are_reported(data: Path) -> None:
    other = data.parent / "other"
    (other / "field 1.png").unlink()
    _geojson(other / "field 1.geojson", shapely.box(5000, 5000, 5010, 5010), shapely.box(200, 0, 210, 10))
    listener = Recorder()
    check_inputs("d", folder_regions(data), {"tool": other}, reporter=listener)
    assert listener.warnings[0].startswith(
        "tool: none of the 2 outlines in field 1.geojson is inside the image"
    )


def test_masks_that_cannot_be_told_from_single_nuclei_are_reported(
    tmp_path: Path, labelled_folder: Writer
) -> None:
    folder = labelled_folder(tmp_path, 3)
    for number in range(3):
        labels = np.zeros((160, 160))
        labels[20:90, 20:90] = 255
        labels[120:130, 20 : 20 + 10 * (number == 1)] = 255
        _replaced(folder / "labels" / f"field {number}.png", labels)
    listener = Recorder()
    check_inputs("d", folder_regions(folder), {}, reporter=listener)
    assert "field 1: its ground truth holds one object in 2 parts" in listener.warnings[0]
    assert "no label image holds more than one object. If they are binary masks" in listener.warnings[1]


def test_unknown_samples_of_label_images_count_neither_way(tmp_path: Path, labelled_folder: Writer) -> None:
    folder = labelled_folder(tmp_path, 1)
    (folder / "labels" / "field 0.png").rename(folder / "whole.png")
    labels = _labels(folder / "whole.png")
    np.save(folder / "labels" / "field 0.npy", np.where(np.arange(160) < 80, labels, -1))
    region = folder_regions(folder)[0]
    true, unknown = region.truth()
    assert true.min() == 0
    assert unknown is not None
    assert (unknown == (np.arange(160) >= 80)).all()
    (result,) = evaluate([region], [Shaky("s", 0, 1000)]).results.values()
    assert result.scores["pq"] == 1


def test_overlapping_outlines_do_not_depend_on_their_order(data: Path) -> None:
    shapes = [shapely.Point(30 + 7 * i, 40).buffer(8 + i % 3) for i in range(9)]
    region = folder_regions(data)[0]
    labels = []
    for name, order in (("a", shapes), ("b", shapes[::-1]), ("c", shapes[4:] + shapes[:4])):
        (data / name).mkdir()
        _geojson(data / name / "field 0.geojson", *order)
        drawn = PrecomputedPredictor(name, data / name).predict(region, region.pixels()).labels
        original = np.array([0, *(1 + next(i for i, s in enumerate(shapes) if s is one) for one in order)])
        labels.append(original[drawn])
    assert (labels[0] == labels[1]).all()
    assert (labels[0] == labels[2]).all()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda folder: folder.write_text("x"), "is a file"),
        (lambda folder: (folder.parent / "r").write_text("x"), None),
        (lambda folder: (folder / "figures").mkdir(parents=True), "is not empty"),
        (lambda folder: _earlier_report(folder, "report.html", True), "report.html: is not a file"),
        (lambda folder: _earlier_report(folder, "figures", False), "figures: is not a file of a report"),
    ],
)  # fmt: skip
def test_an_output_folder_that_cannot_be_one(
    tmp_path: Path, make: Callable[[Path], object], words: str | None
) -> None:
    folder = tmp_path / "r"
    make(folder)
    if words is None:
        folder, words = folder / "deep" / "er", "is not a folder"
    with pytest.raises(CellGenNetError, match=words) as caught:
        check_output(folder)
    assert caught.value.exit_code == 2


def test_an_output_folder_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(**options: object) -> None:
        raise PermissionError(13, "Permission denied")

    with pytest.raises(CellGenNetError, match="cannot be written"):
        check_output(tmp_path / ("n" * 300))
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(CellGenNetError, match="loop"):
        check_output(tmp_path / "loop" / "r")
    monkeypatch.setattr("tempfile.TemporaryFile", refused)
    with pytest.raises(CellGenNetError, match="Permission denied"):
        check_output(tmp_path / "r")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["loop"], "the check leaves nothing behind"


def test_an_image_that_cannot_be_read_is_skipped_and_reported(
    data: Path, untrained: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    (data / "labels" / "field 0.png").unlink()
    (data / "images" / "field 1.png").write_bytes(b"no picture")
    report = data.parent / "r"
    code, out, _ = invoke(
        capsys, "evaluate", data, "-m", untrained.path, "-o", report, "--mpp", 0.5, "--no-classical", "--json"
    )
    document = json.loads(out)
    assert code == 3
    assert [row["field"] for row in document["images"]] == ["field 2"]
    notes = " ".join(document["notes"])
    assert "Skipped: " in notes
    assert "field 1.png: not a readable image" in notes
    assert "field 0.png: no label image" in notes
    page = (report / "report.html").read_text(encoding="utf-8")
    assert "field 1.png: not a readable image" in page


@pytest.mark.parametrize("error", [SlideError("field 1.png", "has a damaged tile"), MemoryError()])
def test_a_region_that_fails_during_the_run_is_left_out_for_every_method(
    data: Path, error: Exception, untrained: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    def pixels(region: EvaluationRegion) -> NDArray[np.uint8]:
        if region.name == "field 1":
            raise error
        return np.zeros((160, 160, 3), np.uint8)

    monkeypatch.setattr(EvaluationRegion, "pixels", pixels)
    listener = Recorder()
    done = evaluate(folder_regions(data), [Shaky("a"), Shaky("b")], listener)
    assert {name for _, name in done.results} == {"field 0", "field 2"}
    assert len(done.results) == 4
    assert list(done.skipped) == ["field 1"]
    assert listener.warnings[0].startswith("Skipped: field 1: ")
    result = api.evaluate(data, untrained, output=data.parent / "r", classical=False, mpp=0.5)
    assert result.document["skipped"] == [f"field 1: {done.skipped['field 1']}"]
    assert len(result.skipped) == 1


def test_no_region_left_is_an_error(data: Path) -> None:
    class Broken:
        name = "m"

        def predict(self, region: EvaluationRegion, pixels: NDArray[np.uint8]) -> Prediction:
            raise SlideError(region.image, "has a damaged tile")

    with pytest.raises(SlideError, match="has a damaged tile, and no region could be evaluated"):
        evaluate(folder_regions(data), [Broken()])


def test_a_region_of_unknown_nuclei_only_has_none(tmp_path: Path, labelled_folder: Writer) -> None:
    region = folder_regions(labelled_folder(tmp_path, 1))[0]
    true, _ = region.truth()
    hidden = replace(region, truth=lambda: (true, true > 0))
    with pytest.raises(SupervisionError, match="no outlined nucleus in its 1 image"):
        check_inputs("MyProject", [hidden], {})
