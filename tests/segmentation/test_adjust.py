"""What a user changes at use time: takes nuclei away only, splits more or less, follows their size."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely

from cellgennet_qupath.core.errors import UsageError
from cellgennet_qupath.segmentation.adjust import adjusted, choices, rule_of
from cellgennet_qupath.segmentation.options import SegmentOptions
from cellgennet_qupath.segmentation.record import mixed_settings, read_record
from cellgennet_qupath.segmentation.slide import segment_slide

from .fakes import Disc, draw, model, task
from .projects import MemoryProject, picture, segment

SIZES: list[Disc] = [(40.0 + 45 * k, 50.0, 6.0 + 1.5 * k) for k in range(8)]
PAIRS: list[Disc] = [
    (30.0 + 50 * k + side * (3.0 + 0.75 * k), 60.0, 12.0) for k in range(8) for side in (-1.0, 1.0)
]
"""Two discs that overlap, from almost one to almost apart."""


def found(discs: list[Disc], tile: int = 256, **chosen: Any) -> tuple[set[bytes], np.ndarray[Any, Any]]:
    """The outlines (WKB) and areas in µm² of the nuclei of a drawn slide."""
    image = draw(440, 120, discs)
    plain, tiles = task(image, tile)
    one = replace(plain, model=adjusted(plain.model, SegmentOptions(**chosen)))
    nuclei = segment_slide(one, tiles).nuclei
    return set(shapely.to_wkb(nuclei.polygons)), shapely.area(nuclei.polygons) * 0.25**2


def test_nothing_chosen_changes_nothing() -> None:
    assert adjusted(model(), SegmentOptions()).decoding == model().decoding
    assert choices(SegmentOptions()) == {}
    assert rule_of(model()) == model().decoding.model_dump(mode="json")


@pytest.mark.parametrize("option", ["threshold", "min_area"])
@pytest.mark.parametrize("tile", [64, 512])
def test_a_higher_limit_only_takes_nuclei_away(option: str, tile: int) -> None:
    steps = {"threshold": (0.0, 0.5, 0.7, 0.8, 1.0), "min_area": (0.0, 10.0, 20.0, 40.0, 500.0)}[option]
    outlines = [found(SIZES, tile, **{option: step})[0] for step in steps]
    assert len(outlines[0]) == len(SIZES)
    assert outlines[-1] == set()
    assert any(0 < len(one) < len(SIZES) for one in outlines)
    for more, fewer in pairwise(outlines):
        assert fewer <= more


def test_the_least_area_is_that_of_the_table() -> None:
    outlines, areas = found(SIZES, min_area=20.0)
    assert 0 < len(outlines) < len(SIZES)
    assert areas.min() >= 20
    # Below the model's own limit it lets smaller nuclei in.
    strict = adjusted(model(min_area_um2=30.0), SegmentOptions(min_area=5.0))
    assert strict.decoding.min_area_um2 == 5.0


def test_more_or_fewer_touching_nuclei_are_split() -> None:
    plain = len(found(PAIRS)[0])
    assert len(found(PAIRS, split="more")[0]) >= plain >= len(found(PAIRS, split="less")[0])
    assert len(found(PAIRS, split="more")[0]) > len(found(PAIRS, split="less")[0])


def test_the_rule_follows_the_scale() -> None:
    twice = adjusted(model(), SegmentOptions(scale=0.5))
    assert twice.mpp == 0.5
    assert twice.decoding.max_extent_um == 2 * model().decoding.max_extent_um
    # In samples of the network nothing changes: it sees nuclei of the size that it knows.
    assert twice.rule == model().rule


@pytest.mark.parametrize(
    ("chosen", "words"),
    [
        ({"threshold": 1.5}, "is not a probability"),
        ({"threshold": float("nan")}, "is not a probability"),
        ({"min_area": -1.0}, "is not an area"),
        ({"scale": 2.0}, "is too far from the model's 0.25"),
    ],
)
def test_impossible_values_are_refused(chosen: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        adjusted(model(), SegmentOptions(**chosen))
    with pytest.raises(UsageError, match="without a pixel size"):
        adjusted(replace(model(), mpp=None), SegmentOptions(scale=0.5))


@pytest.mark.parametrize(
    "chosen", [{"threshold": 0.75}, {"min_area": 20.0}, {"split": "more"}, {"scale": 0.3}], ids=str
)
def test_a_changed_option_is_another_run(tmp_path: Path, chosen: dict[str, Any]) -> None:
    project = MemoryProject(tmp_path)
    entry = project.add("a", picture())
    segment(project)
    assert segment(project)[0].note == "unchanged"
    (again,) = segment(project, **chosen)
    assert again.note != "unchanged"
    assert segment(project, **chosen)[0].note == "unchanged"
    record = read_record(project, entry)
    assert record is not None
    history = record.inputs["writing"]["history"]
    assert set(choices(SegmentOptions(**chosen)).items()) <= set(history.items())
    assert ("least_probability" in record.model["rule"]) == ("threshold" in chosen)
    assert json.loads(history["decoding"])
    other = project.add("b", picture())
    segment(project, images=["b"])
    assert read_record(project, other) is not None
    assert "segmented in different ways" in mixed_settings(project)
