"""What the report says, that it says it safely, and the files beside it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from cellgennet_qupath.bundle import Bundle
from cellgennet_qupath.core.errors import UsageError
from cellgennet_qupath.evaluation.regions import folder_regions
from cellgennet_qupath.evaluation.run import METRICS, Evaluation, evaluate
from cellgennet_qupath.evaluation.verdict import Grade, judge, p_value
from cellgennet_qupath.report.evaluation_page import REPORT, examples, write_report
from cellgennet_qupath.report.pages import number, percent

HOSTILE = "<script>alert(1)</script>"


def test_scores_of_everyone_on_every_field(evaluation: Evaluation) -> None:
    assert len(evaluation.scores) == 12
    assert set(METRICS) <= set(evaluation.scores.columns)
    assert evaluation.unit == "µm"
    ours = evaluation.of("ours").iloc[0]
    true, _ = evaluation.fields[0].truth()
    number = int(true.max())
    assert ours["true_objects"] == number
    assert ours["recall@0.5"] == pytest.approx((number - number // 5) / number)
    assert ours["precision@0.5"] == 1
    assert ours["count_off"] == -ours["count_error"] > 0
    assert (evaluation.predictions["theirs", "field 0"].unpack() > 0).any()


def test_distances_are_in_micrometres(
    evaluation: Evaluation, shaky: Callable[..., object], tmp_path: Path, labelled_folder: Callable[..., Path]
) -> None:
    folder = labelled_folder(tmp_path, 1)
    in_pixels = evaluate(folder_regions(folder), [shaky("ours")])  # type: ignore[list-item]
    assert in_pixels.unit == "px"
    here = evaluation.of("ours").iloc[0]
    assert in_pixels.scores.iloc[0]["hausdorff"] * 0.5 == pytest.approx(here["hausdorff"])


def test_the_summary_has_means_and_intervals(evaluation: Evaluation) -> None:
    summary = evaluation.summary().set_index("method")
    assert summary.loc["ours", "pq"] == pytest.approx(evaluation.of("ours")["pq"].mean())
    assert summary.loc["ours", "pq_low"] < summary.loc["ours", "pq"] < summary.loc["ours", "pq_high"]
    assert summary.loc["ours", "true_objects"] == evaluation.of("ours")["true_objects"].sum()


def test_the_verdict_in_words(evaluation: Evaluation) -> None:
    verdict = judge(evaluation, evaluation.comparisons())
    assert "ours" in verdict.headline
    assert verdict.grade is Grade.GOOD
    assert f"{evaluation.of('ours')['true_objects'].sum():,.0f} nuclei" in verdict.sentences[0]
    assert "of 100 nuclei that it draws, 100" in verdict.sentences[1]
    assert verdict.compared[0].startswith("It is better than theirs (panoptic quality +0.")
    assert [use.what for use in verdict.uses][1] == "Finding each nucleus"


def test_a_bad_method_is_called_bad(evaluation: Evaluation) -> None:
    turned = replace(evaluation, methods=["theirs", "ours"])
    verdict = judge(turned, turned.comparisons())
    assert verdict.grade is Grade.POOR
    assert "not good enough" in verdict.headline
    assert verdict.compared[0].startswith("It is worse than ours")


def test_warnings_where_validation_is_small_or_was_trained_on(evaluation: Evaluation) -> None:
    few = replace(evaluation, scores=evaluation.scores[evaluation.scores["field"] < "field 2"])
    assert any("2 images" in w and "are few" in w for w in judge(few, []).warnings)
    assert judge(few, []).headline.endswith("; but they are few.")
    assert "too little to tell" in judge(few, few.comparisons()).compared[0]
    fields = [replace(evaluation.fields[0], trained=True), *evaluation.fields[1:]]
    warnings = judge(replace(evaluation, fields=fields), []).warnings
    assert any("1 validation region overlaps a Training region (field 0)" in w for w in warnings)
    assert not any("Training" in warning for warning in judge(evaluation, []).warnings)


def test_nothing_true_and_nothing_found(tmp_path: Path, shaky: Callable[..., object]) -> None:
    import cv2
    import numpy as np

    for part, image in (("images", np.full((64, 64, 3), 200)), ("labels", np.zeros((64, 64)))):
        (tmp_path / part).mkdir()
        cv2.imwrite(str(tmp_path / part / "empty.png"), image.astype(np.uint8))
    nothing = evaluate(folder_regions(tmp_path), [shaky("a"), shaky("b")])  # type: ignore[list-item]
    document = write_report(tmp_path / "r", nothing, "nothing")
    assert document["verdict"]["grade"] == "not yet"
    assert "nan" not in (tmp_path / "r" / REPORT).read_text(encoding="utf-8").lower().split("base64")[0]


def test_examples_are_the_worst_and_the_middle(evaluation: Evaluation) -> None:
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
        "box_plots.svg", "calibration.svg", "counts.svg", "kinds.svg", "thresholds.svg",
    }  # fmt: skip
    text = (tmp_path / "r" / REPORT).read_text(encoding="utf-8")
    assert untrained.fingerprint in text
    assert "A note." in text
    assert document["bundles"][0]["checksums"] == untrained.card.checksums
    write_report(tmp_path / "r", evaluation, "again")
    with pytest.raises(UsageError, match="holds no earlier report"):
        write_report(tmp_path, evaluation, "not here")
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(UsageError, match="is a file"):
        write_report(tmp_path / "file", evaluation, "not here")


def test_the_page_loads_nothing(evaluation: Evaluation, tmp_path: Path) -> None:
    write_report(tmp_path / "r", evaluation, "discs")
    text = (tmp_path / "r" / REPORT).read_text(encoding="utf-8")
    addresses = re.findall(r'(?:src|href)="([^"]{0,40})', text)
    assert addresses
    assert all(a.startswith(("data:", "#")) for a in addresses)
    assert text.count("<script") == 1


def test_names_are_escaped(evaluation: Evaluation, untrained: Bundle, tmp_path: Path) -> None:
    hostile = replace(
        evaluation,
        fields=[replace(f, name=f"{HOSTILE} {i}", group=HOSTILE) for i, f in enumerate(evaluation.fields)],
        scores=evaluation.scores.assign(
            field=[f"{HOSTILE} {name.split()[-1]}" for name in evaluation.scores["field"]], group=HOSTILE
        ),
        predictions={
            (method, f"{HOSTILE} {name.split()[-1]}"): labels
            for (method, name), labels in evaluation.predictions.items()
        },
    )
    bundle = replace(untrained, card=untrained.card.model_copy(update={"name": HOSTILE, "licence": HOSTILE}))
    write_report(tmp_path / "r", hostile, HOSTILE, [bundle], [HOSTILE])
    text = (tmp_path / "r" / REPORT).read_text(encoding="utf-8")
    assert HOSTILE not in text
    assert text.count("<script") == 1
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text


def test_dollars_in_names_are_no_formulas(evaluation: Evaluation, tmp_path: Path) -> None:
    renamed = replace(
        evaluation,
        methods=["a $\\frac{ b", "theirs"],
        reliability={},
        scores=evaluation.scores.replace({"method": {"ours": "a $\\frac{ b"}}),
        nuclei=evaluation.nuclei.replace({"method": {"ours": "a $\\frac{ b"}}),
        predictions={
            ("a $\\frac{ b" if method == "ours" else method, field): labels
            for (method, field), labels in evaluation.predictions.items()
        },
    )
    write_report(tmp_path / "r", renamed, "dollars")
    assert (tmp_path / "r" / REPORT).is_file()


def test_numbers_for_people() -> None:
    assert (number(0.12345), number(float("nan")), number(1234.5, 1)) == ("0.123", "–", "1,234.5")
    assert (percent(0.126), percent(-0.1, True), percent(float("nan"))) == ("13%", "-10%", "–")
    assert (p_value(0.0001), p_value(0.04), p_value(float("nan"))) == (
        "p < 0.001",
        "p = 0.040",
        "p undefined",
    )
