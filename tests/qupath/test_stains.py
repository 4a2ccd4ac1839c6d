"""Stains: those set, those of the image's type, none."""

from __future__ import annotations

import numpy as np
import pytest

from cellgennet_qupath.qupath.project import StainVectors
from cellgennet_qupath.qupath.stains import H_DAB, H_E, can_be_separated, stains_of

OWN = StainVectors(("Hematoxylin", "DAB"), ((0.6, 0.8, 0.0), (0.0, 0.6, 0.8)), (240.0, 241.0, 242.0))


def test_what_was_set_wins() -> None:
    assert stains_of("BRIGHTFIELD_H_DAB", OWN) is OWN
    assert stains_of("BRIGHTFIELD_H_E", OWN) is OWN


def test_each_brightfield_type_has_a_default() -> None:
    assert stains_of("BRIGHTFIELD_H_E", None) is H_E
    assert stains_of("BRIGHTFIELD_H_DAB", None) is H_DAB
    assert stains_of("BRIGHTFIELD_OTHER", None) is H_DAB
    assert (H_E.names, H_DAB.names) == (("Hematoxylin", "Eosin"), ("Hematoxylin", "DAB"))
    for stains in (H_E, H_DAB):
        assert np.linalg.norm(stains.vectors, axis=1) == pytest.approx(1)
        assert can_be_separated(stains)


@pytest.mark.parametrize("image_type", ["FLUORESCENCE", "OTHER", ""])
def test_other_images_have_none(image_type: str) -> None:
    assert stains_of(image_type, None) is None
    assert stains_of(image_type, OWN) is None


@pytest.mark.parametrize(
    ("vectors", "background"),
    [
        (((0.6, 0.8, 0.0), (0.6, 0.8, 0.0)), (255.0,) * 3),
        (((0.6, 0.8, 0.0), (0.0, 0.0, 0.0)), (255.0,) * 3),
        (((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.6, 0.8, 0.0)), (255.0,) * 3),
        (((1.0, 0.0, 0.0), (0.0, float("nan"), 0.0)), (255.0,) * 3),
        (((1.0, 0.0, 0.0), (0.0, 1.0, 0.0)), (255.0, 0.0, 255.0)),
    ],
)
def test_vectors_that_tell_nothing_apart(
    vectors: tuple[tuple[float, float, float], ...], background: tuple[float, float, float]
) -> None:
    names = tuple(f"Stain {number}" for number in range(len(vectors)))
    assert not can_be_separated(StainVectors(names, vectors, background))
