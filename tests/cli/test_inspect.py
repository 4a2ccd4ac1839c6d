"""``cellgennet inspect``: findings about annotations, in text and as JSON, and its settings."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import shapely

from .. import projects
from ..helpers import invoke, messages
from ..projects import drawn_slide, write_project

Feature = dict[str, Any]


def feature(shape: shapely.Geometry, path_class: str = "", kind: str = "annotation") -> Feature:
    properties: dict[str, Any] = {"objectType": kind}
    if path_class:
        properties["classification"] = {"name": path_class, "color": [200, 0, 0]}
    return {"type": "Feature", "geometry": json.loads(shapely.to_geojson(shape)), "properties": properties}


@pytest.fixture
def project(sample_project: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sample_project, tmp_path / "project"))


def annotate(project: Path, *features: Feature) -> None:
    """The annotations of slide 4 of the sample project, 1024 x 1024 pixels of 0.5 µm."""
    file = project / "cellgennet" / "annotations" / "4.geojson"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps({"type": "FeatureCollection", "features": features}), encoding="utf-8")


REGION = shapely.box(100, 100, 300, 300)
NUCLEI = [shapely.Point(130 + 40 * i, 150).buffer(8) for i in range(4)]


def inspected(capsys: pytest.CaptureFixture[str], project: Path, *options: object) -> dict[str, Any]:
    code, out, err = invoke(capsys, "inspect", project, "--backend", "files", "--json", *options)
    assert (code, messages(err)) == (0, [])
    images: list[dict[str, Any]] = json.loads(out)["images"]
    return images[3]


def test_a_project_in_order_has_no_findings(capsys: pytest.CaptureFixture[str], project: Path) -> None:
    _, out, _ = invoke(capsys, "inspect", project, "--backend", "files", "--json")
    images = json.loads(out)["images"]
    assert [image["findings"] for image in images] == [[], [], [], []]
    assert set(images[0]) == {
        "id", "name", "slide", "width", "height", "mpp", "reader", "annotations", "detections", "regions",
        "trainable", "findings", "problem",
    }  # fmt: skip


def test_findings_are_printed_in_one_line_each(capsys: pytest.CaptureFixture[str], project: Path) -> None:
    tissue = feature(shapely.box(0, 0, 1000, 1000))
    annotate(
        project,
        feature(REGION, "Training"),
        tissue,
        *[feature(shape) for shape in NUCLEI],
        *[feature(shape, "Nucleus") for shape in NUCLEI],
        feature(shapely.Point(200, 250).buffer(8), "nucleus"),
    )
    image = inspected(capsys, project)
    assert [(one["kind"], one["count"], one["class"]) for one in image["findings"]] == [
        ("near-miss class", 1, "nucleus"),
        ("holds a region", 1, ""),
        ("drawn twice", 4, ""),
    ]
    assert image["trainable"] == {"nuclei": 4, "validation_nuclei": 0}
    assert image["annotations"] == {"Training": 1, "": 5, "Nucleus": 4, "nucleus": 1}
    _, out, _ = invoke(capsys, "inspect", project, "--backend", "files")
    lines = [line for line in out.splitlines() if line.startswith("! slide4_mixed.ome.tif: ")]
    assert lines == [f"! slide4_mixed.ome.tif: {one['sentence']}" for one in image["findings"]]


def test_images_that_show_one_slide_are_named(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    slide = drawn_slide(tmp_path / "a.png")
    project = write_project(tmp_path / "p", [slide, slide, slide])
    for number, path_class in ((1, "Training"), (2, "Validation")):
        projects.annotate(project, number, projects.outlined(0, 10, 10, 120, path_class))
    code, out, _ = invoke(capsys, "inspect", project, "--json", "--backend", "files")
    findings = [
        [one["sentence"] for one in image["findings"] if one["kind"] == "same slide"]
        for image in json.loads(out)["images"]
    ]
    assert code == 0 and [len(sentences) for sentences in findings] == [1, 1, 0]
    assert "same slide as a.png (id 2)" in findings[0][0]


@pytest.mark.parametrize("kind", ["detection", "cell"])
def test_nuclei_that_are_not_annotations_are_named(
    capsys: pytest.CaptureFixture[str], project: Path, kind: str
) -> None:
    annotate(project, feature(REGION, "Validation"), *[feature(shape, kind=kind) for shape in NUCLEI])
    image = inspected(capsys, project)
    finding, passed_over = image["findings"]
    assert f"4 {kind}s" in finding["sentence"]
    assert passed_over["sentence"].startswith(
        f"4 {kind}s in cellgennet/annotations/4.geojson are passed over"
    )
    assert "docs/tutorial.md" in finding["sentence"]
    assert image["detections"] == 4
    assert image["regions"] == 1
    assert image["trainable"]["validation_nuclei"] == 0


def test_objects_of_several_types_are_counted_by_type(
    capsys: pytest.CaptureFixture[str], project: Path
) -> None:
    kinds = ["tile", "cell", "cell", "tmaCore"]
    annotate(project, feature(REGION, "Training"), *[feature(NUCLEI[0], kind=kind) for kind in kinds])
    findings = {one["kind"]: one for one in inspected(capsys, project)["findings"]}
    assert findings["passed over"]["count"] == 4
    assert findings["passed over"]["sentence"].startswith("2 cells, 1 tile and 1 TMA core in")


def test_settings_name_the_classes(capsys: pytest.CaptureFixture[str], project: Path, tmp_path: Path) -> None:
    annotate(project, feature(REGION, "Area 1"), *[feature(shape, "Tumor: Positive") for shape in NUCLEI])
    assert inspected(capsys, project)["trainable"]["nuclei"] == 0
    settings = tmp_path / "c.yaml"
    settings.write_text("classes:\n  training: Area 1\n  nucleus: [Nucleus, Tumor*]\n", encoding="utf-8")
    image = inspected(capsys, project, "-c", settings)
    assert image["trainable"]["nuclei"] == 4
    assert image["findings"] == []


def test_wrong_settings_are_one_line(
    capsys: pytest.CaptureFixture[str], project: Path, tmp_path: Path
) -> None:
    settings = tmp_path / "c.yaml"
    settings.write_text("classes:\n  nuclei: Tumor\n", encoding="utf-8")
    code, out, err = invoke(capsys, "inspect", project, "-c", settings)
    assert (code, out) == (1, "")
    assert "classes.nuclei" in err
    assert len(err.splitlines()) == 1
