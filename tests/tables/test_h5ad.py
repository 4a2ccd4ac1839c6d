"""AnnData files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import shapely

from cellgennet_qupath.core.errors import MissingExtraError
from cellgennet_qupath.nuclei import Nuclei
from cellgennet_qupath.qupath.project import ROOT
from cellgennet_qupath.tables.project import export_project

from .projects import CALIBRATED, MemoryProject, entry, export, nuclei, segmented

anndata = pytest.importorskip("anndata")


def test_h5ad(tmp_path: Path) -> None:
    data = anndata.read_h5ad(export(tmp_path, "t.h5ad", CALIBRATED))
    assert data.shape == (3, 6)
    assert data.X.dtype == np.float32
    assert data.var_names[0] == "Area µm^2"
    assert data.obs["Image"].tolist() == ["a, b.svs", "a, b.svs", "third"]
    assert data.obs["Classification"].tolist() == ["Nucleus"] * 3
    assert data.obs["Parent"].tolist() == [ROOT] * 3
    ids = [i for _, n in CALIBRATED for i in n.ids]
    assert data.obs["Object_ID"].tolist() == ids
    assert data.obs_names.tolist() == [f"{image}-{i}" for image, i in zip((1, 1, 3), ids, strict=True)]
    assert data.obs["Detection_probability"].tolist() == pytest.approx([0.5, 0.9, 0.5])
    assert data.obsm["spatial"] == pytest.approx(np.array([[5, 2.5], [5.0625, 7.54], [42.75, 4]]))
    assert data.obsm["spatial_px"] == pytest.approx(np.array([[20, 10], [20.25, 30.16], [85.5, 8]]))
    assert data[:, "Area µm^2"].X.ravel().tolist() == pytest.approx([50, 24.765, 22])
    again = tmp_path / "again.h5ad"
    data.write_h5ad(again)
    assert (anndata.read_h5ad(again).X[:, 0] == data.X[:, 0]).all()


def test_what_is_known_of_the_export_is_in_uns(tmp_path: Path) -> None:
    project = MemoryProject(tmp_path / "project", CALIBRATED)
    segmented(project, CALIBRATED[0][0], 2)
    export_project(project, tmp_path / "t.h5ad")  # type: ignore[arg-type]
    uns = anndata.read_h5ad(tmp_path / "t.h5ad").uns
    assert list(uns) == ["cellgennet"], "the key `spatial` would turn squidpy's graph into a grid"
    about = uns["cellgennet"]
    assert about["units"] == {"spatial": "µm", "spatial_px": "px"}
    assert (about["model"], about["model_checksum"], about["qupath_version"]) == ("m", "m-checksum", "0.5.1")
    images = about["images"]
    assert images.index.tolist() == ["1", "2", "3"]
    assert images["Pixel_width_µm"].tolist() == [0.25, 0.25, 0.5]
    assert images["Model"].tolist() == ["m", "", ""]


def test_h5ad_of_many_images(tmp_path: Path) -> None:
    images = [(entry(i, f"image {i}"), nuclei((i, 0, i + 4, 4), (0, i, 4, i + 4))) for i in range(1, 151)]
    data = anndata.read_h5ad(export(tmp_path, "t.h5ad", images))
    assert data.obs["Image"].tolist() == [e.name for e, n in images for _ in range(len(n))]
    assert data.obs_names.is_unique
    assert data.obsm["spatial"][-1] == pytest.approx([0.5, 38])
    assert (data[:, "Area µm^2"].X == 1).all()


def test_names_are_unique_where_nuclei_were_imported_twice(tmp_path: Path) -> None:
    detected = nuclei(*((x, 0, x + 4, 4) for x in (0, 10, 20, 0, 10, 0)))
    doubled = replace(detected, ids=detected.ids[[0, 1, 2, 0, 1, 0]])
    data = anndata.read_h5ad(export(tmp_path, "t.h5ad", [(entry(1, "a"), doubled)]))
    assert data.obs_names.is_unique
    first, again = data.obs_names[[0, 3]]
    assert again == f"{first}-3"


def test_missing_numbers_and_texts(tmp_path: Path) -> None:
    first = nuclei((0, 0, 4, 4)).with_measurements(pd.DataFrame({"Hematoxylin: Mean": [0.5]}))
    unlike = replace(nuclei((0, 0, 4, 4)), probability=np.array([np.nan], np.float32))
    data = anndata.read_h5ad(export(tmp_path, "t.h5ad", [(entry(1, "a"), first), (entry(2, "b"), unlike)]))
    assert data[:, "Hematoxylin: Mean"].X.ravel().tolist() == pytest.approx([0.5, np.nan], nan_ok=True)
    assert data.obs["Detection_probability"].isna().tolist() == [False, True]


def test_columns_on_request_are_in_obs(tmp_path: Path) -> None:
    given = replace(entry(1, "a"), metadata=(("Patient/ID", "P 7"),))
    images = [(given, nuclei((0, 0, 4, 4)))]
    data = anndata.read_h5ad(export(tmp_path, "t.h5ad", images, columns=["image-id", "metadata"]))
    assert data.obs["Image_ID"].tolist() == ["1"]
    assert data.obs["Metadata_Patient_ID"].tolist() == ["P 7"]


def test_h5ad_without_any_measurement(tmp_path: Path) -> None:
    unknown = Nuclei.from_polygons([shapely.box(0, 0, 4, 4)])
    data = anndata.read_h5ad(export(tmp_path, "u.h5ad", [(entry(1, "a"), unknown)]))
    assert data.shape == (1, 0)
    assert data.obsm["spatial"].tolist() == [[0.5, 0.5]]


def test_h5ad_without_anndata_is_reported_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cellgennet_qupath.core.extras.missing", lambda extra: ("anndata",))
    project = MemoryProject(tmp_path, [])
    with pytest.raises(MissingExtraError, match=r'pip install "cellgennet-qupath\[h5ad\]"'):
        export_project(project, tmp_path / "t.h5ad")  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


def test_metadata_of_names_that_are_alike_once_safe_are_all_kept(tmp_path: Path) -> None:
    image = replace(entry(1, "a"), metadata=(("a b", "1"), ("a_b", "2"), ("a/b", "3")))
    file = export(tmp_path, "t.h5ad", [(image, nuclei((0, 0, 9, 9)))], columns=["metadata"])
    found = anndata.read_h5ad(file).obs
    assert [found[f"Metadata_{name}"].item() for name in ("a_b", "a_b_2", "a_b_3")] == ["1", "2", "3"]
