"""Tissue microarrays: cores are read alike by both backends, and nuclei lie under their core."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely

from cellgennet_qupath.nuclei import Nuclei
from cellgennet_qupath.qupath.formats.qpdata import read_qpdata
from cellgennet_qupath.qupath.open import open_project
from cellgennet_qupath.qupath.project import Core, Within, WriteOptions
from tests.qupath.backends import needs_qupath
from tests.qupath.qpfiles import unpacked

GRID = [("A-1", 0, False), ("A-2", 50, True), ("A-3", 100, False), ("A-4", 150, False)]
"""Name, left side and whether it is missing, of cores 45 px wide."""


def expected() -> list[tuple[str | None, bool, list[float]]]:
    return [(name, missing, [x, 20.0, x + 45.0, 65.0]) for name, x, missing in GRID]


def described(cores: list[Core]) -> list[tuple[str | None, bool, list[float]]]:
    return [(c.name, c.missing, shapely.bounds(c.geometry).round(1).tolist()) for c in cores]


@pytest.mark.parametrize("version", ["0.5"])
def test_cores_are_read_without_qupath(tmp_path: Path, version: str) -> None:
    file = tmp_path / "data.qpdata"
    file.write_bytes(unpacked(f"cores_v{version}.qpdata"))
    content = read_qpdata(file)
    assert described(list(content.cores)) == expected()
    assert content.counts.annotations == 2
    assert content.counts.total == 2 + 1 + len(GRID)


def add_grid(project: Path) -> Any:
    """Put a grid into the first image, as QuPath does."""
    from cellgennet_qupath.qupath.java import jvm, objects

    with open_project(project, "qupath", writable=True, older_qupath=True) as opened:
        file = opened.path / "data" / "1" / "data.qpdata"
        server = objects.placeholder_server(opened._images["1"], opened.entries[0])  # type: ignore[attr-defined]
        place = jvm.java_class("java.nio.file.Paths").get(str(file))
        data = jvm.compiled("ObjectTransfer").read(place, server)
        cores = jvm.java_class("java.util.ArrayList")()
        for name, x, missing in GRID:
            core = jvm.java_class("qupath.lib.objects.PathObjects").createTMACoreObject(
                float(x), 20.0, 45.0, 45.0, missing
            )
            core.setName(name)
            cores.add(core)
        grid = jvm.java_class("qupath.lib.objects.hierarchy.DefaultTMAGrid").create(cores, 2)
        data.getHierarchy().setTMAGrid(grid)
        jvm.compiled("ObjectTransfer").write(data, place)
        (file.parent / "summary.json").unlink(missing_ok=True)


def nuclei() -> Nuclei:
    places = np.random.default_rng(1).uniform((5, 5), (195, 95), (400, 2))
    return Nuclei.from_polygons([shapely.Point(*place).buffer(3) for place in places])


@pytest.mark.qupath
@pytest.mark.parametrize("within", [Within(), Within(cores=("all",)), Within(cores=("A-3",))], ids=str)
def test_nuclei_lie_under_the_core_of_their_centroid(project: Path, within: Within) -> None:
    needs_qupath()
    add_grid(project)
    found = nuclei()
    with open_project(project, "files") as files, open_project(project, "qupath", writable=True) as real:
        one = real.entries[0]
        before = real.cores(one)
        assert described(before) == described(files.cores(one)) == expected()
        assert [core.id for core in before] == [core.id for core in files.cores(one)]
        wanted = [core for core in before if not within or core in within.objects([], before)]
        points = np.array([[p.x, p.y] for p in shapely.centroid(found.polygons)])
        counts = {c.name: int(shapely.intersects_xy(c.geometry, *points.T).sum()) for c in wanted}
        if within:
            inside = shapely.union_all([core.geometry for core in wanted])
            found = found.take(np.flatnonzero(shapely.intersects_xy(inside, *points.T)))
        real.write_detections(one, found, WriteOptions(within=within))
        parents = np.concatenate([chunk.parents for chunk in real.detection_chunks(one)])
        assert {name: int((parents == name).sum()) for name in counts} == counts
        assert sum(counts.values()) > 20
        assert real.cores(one) == before
        assert len(real.detections(one)) == len(found)
