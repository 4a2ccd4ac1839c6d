"""The verdict never says more than the numbers allow."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from cellgennet_qupath.evaluation.prediction import Prediction, Predictor
from cellgennet_qupath.evaluation.regions import EvaluationRegion, folder_regions
from cellgennet_qupath.evaluation.run import Evaluation, evaluate
from cellgennet_qupath.evaluation.verdict import Grade, judge
from cellgennet_qupath.metrics.statistics import difference_interval
from tests.drawn_tissue import Shaky


def _nuclei(shares: Sequence[tuple[float, int, int, float]], each: int) -> pd.DataFrame:
    """``each`` nuclei for every (area, crowded, irregular, share detected)."""
    parts = [
        pd.DataFrame(
            {
                "method": "ours",
                "area": area + np.arange(each) / each,
                "crowded": bool(crowded),
                "irregular": bool(irregular),
                "iou": np.where(np.arange(each) < round(share * each), 0.8, 0.0),
            }
        )
        for area, crowded, irregular, share in shares
    ]
    return pd.concat(parts, ignore_index=True)


def _about_kinds(evaluation: Evaluation, nuclei: pd.DataFrame) -> str:
    """The sentence about kinds of nuclei, for an evaluation with these nuclei."""
    changed = replace(evaluation, methods=["ours"])
    changed.__dict__["nuclei"] = nuclei
    return judge(changed).sentences[-1]


EVERY_KIND = [(area, crowded, odd, 0.9) for area in (1, 2, 3) for crowded in (0, 1) for odd in (0, 1)]


def test_equally_well_needs_evidence_for_each_kind(evaluation: Evaluation) -> None:
    few = _about_kinds(evaluation, _nuclei(EVERY_KIND, 10))
    assert few == "These nuclei do not show whether size, crowding or shape matters."
    many = _about_kinds(evaluation, _nuclei(EVERY_KIND, 200))
    assert "small, medium and large nuclei and crowded and isolated nuclei and regular and irregular" in many
    assert "within 10 percentage points, with 95 % confidence" in many
    # Without irregular nuclei nothing is said about shape.
    regular = _about_kinds(evaluation, _nuclei([kind for kind in EVERY_KIND if not kind[2]], 400))
    assert "equally well" in regular
    assert "irregular" not in regular


def test_the_weakest_kind_needs_evidence(evaluation: Evaluation) -> None:
    kinds = [(area, crowded, odd, 0.6 if odd else 0.9) for area, crowded, odd, _ in EVERY_KIND]
    sentence = _about_kinds(evaluation, _nuclei(kinds, 60))
    assert sentence == "It is weakest on irregular nuclei: of 100 it detects 60."
    assert "do not show" in _about_kinds(evaluation, _nuclei(kinds, 3))
    # A difference that is certain but too small to matter is not named.
    kinds = [(area, crowded, odd, 0.96 if odd else 0.99) for area, crowded, odd, _ in EVERY_KIND]
    assert "equally well" in _about_kinds(evaluation, _nuclei(kinds, 5000))


def test_few_nuclei_of_a_kind_are_counted_not_scaled(evaluation: Evaluation) -> None:
    nuclei = pd.concat([_nuclei([(2, 0, 0, 0.95)], 900), _nuclei([(2, 0, 1, 0.2)], 20)])
    assert _about_kinds(evaluation, nuclei) == "It is weakest on irregular nuclei: of 20 it detects 4."


def test_of_100_needs_fifty_nuclei(tmp_path: Path, labelled_folder: Callable[[Path, int], Path]) -> None:
    regions = folder_regions(labelled_folder(tmp_path, 4))
    few, more = (judge(evaluate(regions[:n], [Shaky("s", 0, 4)])) for n in (1, 4))
    true = int(regions[0].truth()[0].max())
    assert true < 50
    assert few.sentences[1].startswith(f"Of {true} outlined nuclei it detects {true - true // 4}; of ")
    assert f"of {true - true // 4} nuclei it predicts, {true - true // 4} are correct" in few.sentences[1]
    assert more.sentences[1].startswith("Of 100 outlined nuclei it detects ")


class Nothing:
    """Predicts no nucleus."""

    name = "silent"

    def predict(self, region: EvaluationRegion, pixels: NDArray[np.uint8]) -> Prediction:
        return Prediction(np.zeros(pixels.shape[:2], np.int32), np.empty(0, np.float32))


@pytest.mark.parametrize("first", [True, False])
def test_a_method_that_predicts_nothing_is_reported(
    tmp_path: Path, labelled_folder: Callable[[Path, int], Path], first: bool
) -> None:
    methods: list[Predictor] = [Nothing(), Shaky("s")] if first else [Shaky("s"), Nothing()]
    verdict = judge(evaluate(folder_regions(labelled_folder(tmp_path, 2)), methods))
    assert verdict.warnings[0].startswith("silent predicted no nucleus in any image.")
    if first:
        assert verdict.headline == "silent is not good enough on these images yet: it predicted no nucleus."
        assert verdict.grade is Grade.POOR
        assert len(verdict.sentences) == 1


@dataclass(frozen=True)
class Elsewhere:
    """Predicts the nuclei of each of some regions at another place."""

    name: str
    regions: tuple[str, ...]

    def predict(self, region: EvaluationRegion, pixels: NDArray[np.uint8]) -> Prediction:
        true, _ = region.truth()
        moved = np.ascontiguousarray(true[::2, ::2]) if region.name in self.regions else true
        labels = np.zeros_like(true)
        labels[: len(moved), : moved.shape[1]] = moved
        return Prediction(labels, np.full(int(labels.max()), np.nan, np.float32))


@pytest.mark.parametrize("regions", [("field 1",), ("field 0", "field 1")])
def test_nuclei_none_of_which_fits_are_reported(
    tmp_path: Path, labelled_folder: Callable[[Path, int], Path], regions: tuple[str, ...]
) -> None:
    fields = folder_regions(labelled_folder(tmp_path, 2))
    warnings = judge(evaluate(fields, [Shaky("s"), Elsewhere("tool", regions)])).warnings
    assert warnings[0].startswith(
        f"Not one nucleus of tool fits an outlined one in {', '.join(regions)}, though both have 10 or more."
    )
    assert not any(line.startswith("Not one") for line in judge(evaluate(fields, [Shaky("s")])).warnings)


def test_the_interval_of_a_difference_as_published() -> None:
    # Newcombe 1998, table II, method 10: 56/70 and 48/80, 9/10 and 3/10, 10/10 and 0/10.
    assert difference_interval((56, 70), (48, 80)) == pytest.approx((0.0524, 0.3339), abs=1e-4)
    assert difference_interval((9, 10), (3, 10)) == pytest.approx((0.1705, 0.8090), abs=1e-4)
    assert difference_interval((10, 10), (0, 10)) == pytest.approx((0.6075, 1.0), abs=1e-4)
    low, high = difference_interval((56, 70), (48, 80), kinds=7)
    assert low < 0.0524
    assert high > 0.3339
    assert difference_interval((0, 0), (3, 10)) == difference_interval((3, 10), (0, 0)) == (-1, 1)
