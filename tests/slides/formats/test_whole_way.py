"""The whole way, without QuPath, on slides of other kinds: inspect, train, segment, export."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

import cellgennet_qupath as cgn
from cellgennet_qupath.cli import run
from cellgennet_qupath.slides.reader import open_slide

from ...projects import feature
from . import others, tiffs
from .nuclei import write_project

QUICK = "student: {epochs: 1, steps_per_epoch: 2}\nloss: {distillation: 0.0}\nthreads: 1\n"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_an_scn_a_dicom_slide_and_a_zarr_from_inspect_to_export(
    sample_project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("wsidicom")
    with cgn.open_project(sample_project, backend="files", writable=False) as sample:
        entry = sample.entries[0]
        annotations = sample.annotations(entry)
        assert entry.slide is not None
        with open_slide(entry.slide) as reader:
            image = reader.read_grid(0, 0, reader.width, reader.height, 1.0)
            mpp = reader.mpp
    assert mpp is not None
    middle = image.shape[1] // 2 // 8 * 8
    x, y = tiffs.SCN_CORNER
    slides = [
        tiffs.write_scn(
            tmp_path / "a.scn", [(image[:, :middle], (x, y)), (image[:, middle:], (x + middle, y))]
        ),
        others.write_dicom(tmp_path / "dicom", image),
        others.write_zarr(tmp_path / "a.ome.zarr", image, "0.5"),
    ]
    project = write_project(tmp_path / "project", slides, (image.shape[1], image.shape[0]), mpp[0])
    features = [feature(one.geometry, one.path_class) for one in annotations]
    (project / "cellgennet" / "annotations").mkdir(parents=True)
    for number in range(1, len(slides) + 1):
        (project / "cellgennet" / "annotations" / f"{number}.geojson").write_text(
            json.dumps({"type": "FeatureCollection", "features": features}), encoding="utf-8"
        )
    (tmp_path / "quick.yaml").write_text(QUICK)
    files = ("--backend", "files")

    assert run(["inspect", str(project), *files, "--json"]) == 0
    images = json.loads(capsys.readouterr().out)["images"]
    assert [one["reader"] for one in images] == ["tifffile", "wsidicom", "zarr"]
    assert [one["problem"] for one in images] == [None] * 3
    assert len({json.dumps(one["trainable"]) for one in images}) == 1 and images[0]["trainable"]["nuclei"] > 0

    bundle = tmp_path / "m.cgn"
    options = ("-o", str(bundle), "-c", str(tmp_path / "quick.yaml"), "--init", "pretrained")
    assert run(["train", str(project), *options, *files]) == 0
    capsys.readouterr()

    assert run(["segment", str(project), "-m", str(bundle), *files, "--json"]) == 0
    counts = [one["detections"] for one in json.loads(capsys.readouterr().out)["images"]]
    assert min(counts) > 20
    assert counts[1] == counts[2] and abs(counts[0] - counts[1]) <= 0.1 * counts[1]
    page = (project / "cellgennet" / "report" / "segment.html").read_text(encoding="utf-8")
    assert all(f"<dt>read by</dt><dd>{name}</dd>" in page for name in ("tifffile", "wsidicom", "zarr"))

    table = tmp_path / "nuclei.csv"
    assert run(["export", str(project), "-o", str(table), *files]) == 0
    assert pd.read_csv(table).groupby("Image").size().tolist() == counts
