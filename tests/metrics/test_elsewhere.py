"""How other programs define scores of the same names: what docs/evaluation.md says, on images made by hand.

Each part needs its program and is skipped without it. To run all of them, make an environment:
pip install stardist==0.9.2 cellpose==4.2.1.1 medpy==0.5.2 torchmetrics==1.9.0 monai==1.6.1 pytest
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from cellgennet_qupath.metrics.boundary import boundary_scores
from cellgennet_qupath.metrics.scores import score

# Of the other programs, not of ours.
pytestmark = pytest.mark.filterwarnings("ignore")

Labels = NDArray[np.int32]


def _image(*boxes: tuple[int, int, int, int]) -> Labels:
    """Labels 1, 2 ... on boxes of rows and columns: first row, first column, height, width."""
    labels = np.zeros((100, 100), np.int32)
    for number, (row, column, height, width) in enumerate(boxes, start=1):
        labels[row : row + height, column : column + width] = number
    return labels


HALF = _image((10, 10, 10, 10)), _image((10, 10, 10, 5))
"""One nucleus, of which half is predicted: IoU 0.5 exactly."""
MERGED = _image((10, 10, 10, 10), (10, 20, 10, 20)), _image((10, 10, 10, 30))
"""Two touching nuclei of 100 and 200 samples, predicted as one."""
SPECK = _image((10, 10, 40, 40)), _image((10, 10, 40, 40), (80, 12, 3, 3))
"""A large nucleus, predicted exactly, and a speck of 3 x 3 samples 31 rows below it."""
EMPTY = _image(), _image()
ONLY_TRUE = _image((10, 10, 10, 10)), _image()


def test_here() -> None:
    assert score(*HALF).pq == pytest.approx(0.5), "from an IoU of 0.5 on is a match: SQ 0.5, RQ 1"
    # The merged nucleus is used for both: intersections 100 + 200, unions 300 + 300.
    assert score(*MERGED).aji == pytest.approx(300 / 600)
    # Of the 156 + 8 predicted outline samples 8 are at the speck, less than 5 %.
    assert boundary_scores(*SPECK).hd95 == 0
    assert boundary_scores(*SPECK).hausdorff == pytest.approx(33)
    assert math.isnan(score(*EMPTY).pq) and math.isnan(boundary_scores(*EMPTY).hd95)
    assert score(*ONLY_TRUE).pq == 0
    assert boundary_scores(*ONLY_TRUE).hd95 == pytest.approx(math.hypot(100, 100))


def test_hd95_here_is_the_larger_of_both_directions() -> None:
    true, predicted = _two_specks()
    # Of 172 predicted outline samples 156 are at distance 0, 6 at 31, 4 at 32 and 6 at 33; the percentile is
    # at position 0.95 x 171 = 162.45.
    assert boundary_scores(true, predicted).hd95 == 32


def _two_specks() -> tuple[Labels, Labels]:
    """As ``SPECK`` with another speck: 16 of 172 predicted outline samples, and 16 of all 328 together."""
    return SPECK[0], np.maximum(SPECK[1], _image((80, 20, 3, 3)) * 3)


def test_stardist() -> None:
    matching = pytest.importorskip("stardist.matching", reason="no StarDist")
    one = matching.matching(*HALF)
    assert (one.panoptic_quality, one.f1) == (0.5, 1.0), "as here"
    assert matching.matching(*EMPTY).panoptic_quality == 0, "here undefined"
    assert matching.matching(*ONLY_TRUE).f1 == 0
    # "accuracy" is TP / (TP + FP + FN), the "average precision" of the papers, not of samples.
    assert matching.matching(*MERGED, thresh=0.5).accuracy == pytest.approx(1 / 2)
    # A data set is pooled, where here images are averaged: 1 of 1, then 1 of 2.
    both = matching.matching_dataset([HALF[0], MERGED[0]], [HALF[1], MERGED[1]], show_progress=False)
    assert both.f1 == pytest.approx(2 * 2 / (2 * 2 + 1))
    assert np.mean([score(*HALF).rq, score(*MERGED).rq]) == pytest.approx((1 + 2 / 3) / 2)


def test_cellpose() -> None:
    metrics = pytest.importorskip("cellpose.metrics", reason="no Cellpose")
    # One to one, over the union of both foregrounds: 200 of 300 instead of 300 of 600.
    assert metrics.aggregated_jaccard_index([MERGED[0]], [MERGED[1]])[0] == pytest.approx(200 / 300)
    precision, *_ = metrics.average_precision(*MERGED, threshold=[0.5])
    assert precision[0] == pytest.approx(1 / 2), "TP / (TP + FP + FN), where F1 is 2 / 3"
    assert metrics.average_precision(*HALF, threshold=[0.5])[1][0] == 1, "from the threshold on, as here"


def test_medpy() -> None:
    binary = pytest.importorskip("medpy.metric.binary", reason="no MedPy")
    predicted, true = SPECK[1] > 0, SPECK[0] > 0
    assert binary.hd(predicted, true) == boundary_scores(*SPECK).hausdorff
    true, predicted = (labels > 0 for labels in _two_specks())
    assert binary.hd95(predicted, true) == 0, "one percentile of both directions together; here 32"
    with pytest.raises(RuntimeError):
        binary.hd95(EMPTY[0] > 0, true)


def test_monai() -> None:
    metrics = pytest.importorskip("monai.metrics", reason="no MONAI")
    torch = pytest.importorskip("torch")

    def quality(true: Labels, predicted: Labels, name: str = "pq") -> float:
        compute = metrics.panoptic_quality.compute_panoptic_quality
        return float(compute(torch.from_numpy(predicted), torch.from_numpy(true), name))

    assert quality(*HALF) == 0, "only above an IoU of 0.5 is a match"
    assert quality(*MERGED, "rq") == pytest.approx(2 / 3, abs=1e-5), "the larger nucleus has an IoU of 2 / 3"

    def distance(true: Labels, predicted: Labels) -> float:
        one, other = (torch.from_numpy(labels > 0)[None, None].float() for labels in (predicted, true))
        return float(metrics.compute_hausdorff_distance(one, other, include_background=True, percentile=95))

    assert distance(*_two_specks()) == boundary_scores(*_two_specks()).hd95 == 32
    assert not math.isfinite(distance(*ONLY_TRUE)), "here the image's diagonal"


def test_torchmetrics() -> None:
    detection = pytest.importorskip("torchmetrics.functional.detection", reason="no TorchMetrics")
    segmentation = pytest.importorskip("torchmetrics.functional.segmentation")
    torch = pytest.importorskip("torch")

    def quality(true: Labels, predicted: Labels) -> Any:
        categories = [
            torch.from_numpy(np.stack([labels > 0, labels], -1))[None] for labels in (predicted, true)
        ]
        return detection.panoptic_quality(*categories, things={1}, stuffs={0}, return_per_class=True)

    nuclei, background = quality(*HALF)[0].tolist()
    assert nuclei == 0, "only above an IoU of 0.5 is a match"
    assert background > 0.99, "background is a category of its own, and counts in the mean"

    def distance(true: Labels, predicted: Labels) -> float:
        one, other = (torch.from_numpy((labels > 0).astype(np.int64))[None] for labels in (predicted, true))
        return float(
            segmentation.hausdorff_distance(
                one, other, num_classes=2, include_background=False, input_format="index"
            )
        )

    assert distance(*SPECK) == boundary_scores(*SPECK).hausdorff, "without a percentile: there is no HD95"
