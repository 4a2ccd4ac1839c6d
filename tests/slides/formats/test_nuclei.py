"""The same tissue gives the same nuclei, whatever kind of file it is in."""

from __future__ import annotations

from pathlib import Path

import pytest

from cellgennet_qupath.slides.reader import open_slide

from .nuclei import compare


@pytest.mark.slow
def test_every_kind_of_file_gives_the_same_nuclei(sample_project: Path, tmp_path: Path) -> None:
    with open_slide(sample_project / "slides" / "slide1_glands.ome.tif") as reader:
        tissue = reader.read_grid(40, 60, 523, 402, 1.0)
    rows = compare(tmp_path, tissue)
    assert len(rows) >= 14
    plain = rows[0].count
    assert plain >= 20
    for row in rows:
        if row.exact:
            assert (row.count, row.matched) == (plain, plain), row
        else:
            assert row.matched >= 0.9 * plain and abs(row.count - plain) <= 0.1 * plain, row
