"""The report: its sentences, its escaping, and the files beside it."""

from __future__ import annotations

import importlib
import json
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from cellgennet_qupath.bundle import Bundle
from cellgennet_qupath.core.errors import UsageError
from cellgennet_qupath.evaluation.regions import folder_regions
from cellgennet_qupath.evaluation.run import METRICS, Evaluation, evaluate
from cellgennet_qupath.evaluation.verdict import Grade, judge, p_value
from cellgennet_qupath.report.evaluation_files import REPORT
from cellgennet_qupath.report.evaluation_page import examples, write_report
from cellgennet_qupath.report.pages import number, percent
from tests.drawn_tissue import Shaky

HOSTILE = "<script>alert(1)</script>"


def test_scores_of_every_method_in_every_region(evaluation: Evaluation) -> None:
    assert len(evaluation.scores) == 12
    assert set(METRICS) <= set(evaluation.scores.columns)
    assert evaluation.unit == "µm"
    ours = evaluation.of("ours").iloc[0]
    true, _ = evaluation.regions[0].truth()
    number = int(true.max())
    assert ours["true_objects"] == number
    assert ours["recall@0.5"] == pytest.approx((number - number // 5) / number)
    assert ours["precision@0.5"] == 1
    assert ours["count_off"] == -ours["count_error"] > 0
    assert (evaluation.results["theirs", "field 0"].labels.unpack() > 0).any()


def test_each_pair_of_method_and_region_is_matched_once(
    tmp_path: Path,
    labelled_folder: Callable[[Path, int], Path],
    shaky: Callable[..., Shaky],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls: Counter[str] = Counter()

    def counted(target: str) -> None:
        module, name = target.rsplit(".", 1)
        original = getattr(importlib.import_module(module), name)

        def call(*arguments: object, **options: object) -> object:
            calls[name] += 1
            return original(*arguments, **options)

        monkeypatch.setattr(target, call)

    for target in ("metrics.matching.overlaps", "metrics.strata.summarise", "evaluation.run._summarise"):
        counted(f"cellgennet_qupath.{target}")
    regions = folder_regions(labelled_folder(tmp_path / "d", 3), mpp=0.5)
    evaluation = evaluate(regions, [shaky("ours"), shaky("theirs", 4, 2)])
    assert calls == {"overlaps": 2 * 3}
    judge(evaluation)
    write_report(tmp_path / "r", evaluation, "discs")
    assert calls == {"overlaps": 2 * 3, "summarise": 1, "_summarise": 2}


def test_distances_are_in_micrometres(
    evaluation: Evaluation, shaky: Callable[..., Shaky], tmp_path: Path, labelled_folder: Callable[..., Path]
) -> None:
    folder = labelled_folder(tmp_path, 1)
    in_pixels = evaluate(folder_regions(folder), [shaky("ours")])
    assert in_pixels.unit == "px"
    here = evaluation.of("ours").iloc[0]
    assert in_pixels.scores.iloc[0]["hausdorff"] * 0.5 == pytest.approx(here["hausdorff"])


def test_the_summary_has_means_and_intervals(evaluation: Evaluation) -> None:
    ours = evaluation.summary().set_index("method").to_dict("index")["ours"]
    assert ours["pq"] == pytest.approx(evaluation.of("ours")["pq"].mean())
    assert ours["pq_low"] < ours["pq"] < ours["pq_high"]
    assert ours["true_objects"] == evaluation.of("ours")["true_objects"].sum()


def test_the_verdict_in_words(evaluation: Evaluation) -> None:
    verdict = judge(evaluation)
    assert "ours" in verdict.headline
    assert verdict.grade is Grade.GOOD
    assert f"{evaluation.of('ours')['true_objects'].sum():,.0f} nuclei" in verdict.sentences[0]
    assert "of 100 nuclei it predicts, 100" in verdict.sentences[1]
    assert verdict.compared[0].startswith("It is better than theirs (panoptic quality +0.")
    assert [use.what for use in verdict.uses][1] == "Detecting each nucleus"


def test_a_bad_method_is_called_bad(evaluation: Evaluation) -> None:
    turned = replace(evaluation, methods=["theirs", "ours"])
    verdict = judge(turned)
    assert verdict.grade is Grade.POOR
    assert "not good enough" in verdict.headline
    assert verdict.compared[0].startswith("It is worse than ours")


def test_warnings_where_validation_is_small(evaluation: Evaluation) -> None:
    results = {key: result for key, result in evaluation.results.items() if key[1] < "field 2"}
    few = judge(replace(evaluation, results=results))
    assert any("2 images" in w and "The sample is small" in w for w in few.warnings)
    assert few.headline.endswith(", but the sample is small.")
    assert "too few images to compare" in few.compared[0]


def test_no_true_and_no_predicted_nuclei(tmp_path: Path, shaky: Callable[..., Shaky]) -> None:
    for part, image in (("images", np.full((64, 64, 3), 200)), ("labels", np.zeros((64, 64)))):
        (tmp_path / part).mkdir()
        cv2.imwrite(str(tmp_path / part / "empty.png"), image.astype(np.uint8))
    nothing = evaluate(folder_regions(tmp_path), [shaky("a"), shaky("b")])
    document = write_report(tmp_path / "r", nothing, "nothing")
    assert document["verdict"]["grade"] == "not yet"
    assert "nan" not in (tmp_path / "r" / REPORT).read_text(encoding="utf-8").lower().split("base64")[0]


def test_examples_are_the_worst_and_typical_regions(evaluation: Evaluation) -> None:
    worst, typical = examples(evaluation)
    order = evaluation.of("ours").sort_values(["pq", "field"])["field"].tolist()
    assert [f.name for f in worst] == order[:3]
    assert {f.name for f in typical} == set(order[3:])


def test_files_beside_the_report(evaluation: Evaluation, untrained: Bundle, tmp_path: Path) -> None:
    document = write_report(tmp_path / "r", evaluation, "discs", [untrained], ["A note."])
    assert json.loads((tmp_path / "r" / "report.json").read_text(encoding="utf-8")) == document
    assert len(pd.read_csv(tmp_path / "r" / "per_image.csv")) == 12
    assert set(pd.read_csv(tmp_path / "r" / "tests.csv")["metric"]) >= {"dice", "pq", "hd95"}
    assert {f.name for f in (tmp_path / "r" / "figures").iterdir()} == {
        "box_dice.svg", "box_f1.svg", "box_hd95.svg", "box_pq.svg", "calibration.svg", "counts.svg",
        "kinds.svg", "thresholds.svg",
    }  # fmt: skip
    text = (tmp_path / "r" / REPORT).read_text(encoding="utf-8")
    assert untrained.fingerprint in text
    assert "A note." in text
    assert document["bundles"][0]["checksums"] == untrained.card.checksums
    write_report(tmp_path / "r", evaluation, "again")
    with pytest.raises(UsageError, match="contains no earlier report"):
        write_report(tmp_path, evaluation, "not here")
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(UsageError, match="is a file"):
        write_report(tmp_path / "file", evaluation, "not here")


def test_the_page_loads_no_other_file(evaluation: Evaluation, tmp_path: Path) -> None:
    write_report(tmp_path / "r", evaluation, "discs")
    text = (tmp_path / "r" / REPORT).read_text(encoding="utf-8")
    addresses = re.findall(r'(?:src|href)="([^"]{0,40})', text)
    assert addresses
    assert all(a.startswith(("data:", "#")) for a in addresses)
    assert text.count("<script") == 1


def _renamed(
    evaluation: Evaluation, method: Callable[[str], str], region: Callable[[str], str], group: str = ""
) -> Evaluation:
    """An evaluation with other names of methods and regions."""
    regions = {r.name: replace(r, name=region(r.name), group=group) for r in evaluation.regions}
    results = [
        replace(one, method=method(one.method), region=regions[one.region.name])
        for one in evaluation.results.values()
    ]
    return Evaluation(
        methods=[method(name) for name in evaluation.methods],
        regions=list(regions.values()),
        results={(one.method, one.region.name): one for one in results},
    )


def test_names_are_escaped(evaluation: Evaluation, untrained: Bundle, tmp_path: Path) -> None:
    hostile = _renamed(evaluation, str, lambda name: f"{HOSTILE} {name}", HOSTILE)
    bundle = replace(untrained, card=untrained.card.model_copy(update={"name": HOSTILE, "licence": HOSTILE}))
    write_report(tmp_path / "r", hostile, HOSTILE, [bundle], [HOSTILE])
    text = (tmp_path / "r" / REPORT).read_text(encoding="utf-8")
    assert HOSTILE not in text
    assert text.count("<script") == 1
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text


def test_dollars_in_names_do_not_start_formulas(evaluation: Evaluation, tmp_path: Path) -> None:
    renamed = _renamed(evaluation, lambda name: "a $\\frac{ b" if name == "ours" else name, str)
    write_report(tmp_path / "r", renamed, "dollars")
    assert (tmp_path / "r" / REPORT).is_file()


def test_formatted_numbers() -> None:
    assert (number(0.12345), number(float("nan")), number(1234.5, 1)) == ("0.123", "–", "1,234.5")
    assert (percent(0.126), percent(-0.1, True), percent(float("nan"))) == ("13%", "-10%", "–")
    assert (p_value(0.0001), p_value(0.04), p_value(float("nan"))) == (
        "p < 0.001",
        "p = 0.040",
        "p undefined",
    )
