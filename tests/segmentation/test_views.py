"""Averaged views: the mean of mirrored maps, the same in every tile, and part of what a run is."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import shapely
from numpy.typing import NDArray

from cellgennet_qupath.core.errors import UsageError
from cellgennet_qupath.networks.views import AveragedViews
from cellgennet_qupath.segmentation.adjust import adjusted, choices, rule_of
from cellgennet_qupath.segmentation.options import SegmentOptions
from cellgennet_qupath.segmentation.slide import segment_slide

from .fakes import ColourReader, draw, model, task


@dataclass
class Darkness(ColourReader):
    """A network that averages two colours over 2 x 2 samples, and sees less in the left of every input."""

    left: float = 1.0

    def predict(self, images: NDArray[np.float32], rim: int = 0) -> NDArray[np.float32]:
        self.calls += 1
        n, rows, columns, _ = images.shape
        maps = images[..., :2].reshape(n, rows // 2, 2, columns // 2, 2, 2).mean(axis=(2, 4))
        maps[:, :, : columns // 4] *= self.left
        return np.asarray(maps, np.float32)


def test_maps_are_the_mean_over_four_mirrored_views() -> None:
    image = np.random.default_rng(0).random((1, 32, 48, 3)).astype(np.float32)
    plain, network = Darkness().predict(image), Darkness(left=0.5)
    found = AveragedViews(network).predict(image)
    assert network.calls == 4
    assert found.shape == plain.shape and found.dtype == np.float32
    np.testing.assert_allclose(found, 0.75 * plain, rtol=1e-5)
    np.testing.assert_allclose(AveragedViews(Darkness()).predict(image), plain, rtol=1e-5)


def outlines(tile: int, **chosen: Any) -> set[bytes]:
    discs = [(40.0 + 45 * k, 50.0 + 7 * (k % 3), 8.0 + k) for k in range(8)]
    plain, tiles = task(draw(440, 120, discs), tile)
    one = replace(plain, model=adjusted(plain.model, SegmentOptions(**chosen)))
    return set(shapely.to_wkb(segment_slide(one, tiles).nuclei.polygons))


def test_no_tile_matters() -> None:
    assert outlines(64, views=4) == outlines(512, views=4)
    assert len(outlines(512, views=4)) == 8


def test_views_are_recorded_and_nothing_else_is_changed() -> None:
    options = SegmentOptions(views=4)
    one = adjusted(model(), options)
    assert choices(options) == {"views": "4"}
    assert rule_of(one) == rule_of(model()) | {"views": 4}
    assert (one.predictor.unit, one.predictor.context, one.predictor.stride) == (16, 9, 2)
    assert one.predictor.device == "paper, 4 views"


def test_other_numbers_of_views_are_refused() -> None:
    with pytest.raises(UsageError, match="Give 1 or 4"):
        adjusted(model(), SegmentOptions(views=3))
