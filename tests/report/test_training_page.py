"""The training page: a verdict, and the words of the documentation instead of names of columns."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cellgennet_qupath.bundle import load_bundle, pretrained_bundle
from cellgennet_qupath.report.training_page import judge_training, write_training_page
from cellgennet_qupath.report.words import LABELS, LOSSES, card_facts
from cellgennet_qupath.training.record import Sample, TrainingRecord

FACTS = {
    "images": 4,
    "training_windows": 11,
    "training_nuclei": 1253,
    "training_labelled_pixels": 99,
    "validation_windows": 1,
    "validation_nuclei": 53,
    "unlabelled_tiles": 2,
}
SCORES = {"f1@0.5": 0.7, "aji": 0.5, "pq": 0.6, "true_objects": 53.0, "count_error": -0.06}


def record(f1: float = 0.7, verdict: tuple[str, ...] = (), **facts: int) -> TrainingRecord:
    truth = np.zeros((40, 40), np.int32)
    truth[8:20, 8:20] = 1
    sample = Sample("slide.v1.tif", np.full((40, 40, 3), 128, np.uint8), truth, truth[::2, ::2].copy())
    return TrainingRecord(
        name="train-my.model.v2",
        facts=FACTS | facts,
        histories={"student": [{"bce": 0.5, "objectness": 0.3, "total": 0.8}, {"bce": 0.4, "total": 0.6}]},
        scores={"student": SCORES | {"f1@0.5": f1}},
        samples=[sample],
        verdict=verdict,
    )


@pytest.mark.parametrize(
    ("f1", "grade"), [(0.8, "good"), (0.79, "with care"), (0.65, "with care"), (0.6, "not yet")]
)
def test_the_grade_has_the_limits_of_evaluate(f1: float, grade: str) -> None:
    verdict = judge_training(record(f1))
    assert verdict.grade == grade
    assert verdict.headline == "Student trained"
    assert (
        f"53 validation nuclei the trained student detects single nuclei with F1 {f1:.2f}" in verdict.quality
    )
    assert any("cellgennet suggest" in step for step in verdict.next_steps) == (grade != "good")


def test_the_recommendation_is_the_headline() -> None:
    verdict = judge_training(record(verdict=("It is better.", "Recommended: the new model.")))
    assert verdict.headline == "Recommended: the new model"
    assert verdict.sentences == ["It is better."]
    assert "small sample" in verdict.quality
    assert "small sample" not in judge_training(record(validation_nuclei=400)).quality


@pytest.mark.parametrize(("f1", "held_out"), [(math.nan, 53), (0.9, 0)])
def test_without_validation_nothing_is_claimed(f1: float, held_out: int) -> None:
    verdict = judge_training(record(f1, validation_nuclei=held_out))
    assert verdict.grade == ""
    assert "nobody knows" in verdict.quality
    assert "Validation" in verdict.next_steps[0]


def test_the_page_has_no_names_of_columns(tmp_path: Path) -> None:
    text = write_training_page(record(), tmp_path / "t.html").read_text(encoding="utf-8")
    shown = re.sub(r"<(style|script).*?</\1>|<[^>]*>", " ", text, flags=re.S)
    assert "Training · my.model.v2" in shown, "a name with dots is whole"
    assert "1,253 nuclei in 11 annotated windows" in shown
    assert "expert, missed" in shown, "the outlines have a legend"
    for raw in (*FACTS, "count_error", "true_objects", "f1@0.5", "bce", "objectness"):
        assert not re.search(rf"(?<![\w@]){re.escape(raw)}(?!\w)", shown.replace("images", "")), raw


@pytest.mark.parametrize(("networks", "optimistic"), [(("student",), 0), (("teacher", "student"), 1)])
def test_the_page_says_how_the_scores_were_made(
    tmp_path: Path, networks: tuple[str, ...], optimistic: int
) -> None:
    made = replace(record(), scores=dict.fromkeys(networks, SCORES))
    text = write_training_page(made, tmp_path / "t.html").read_text(encoding="utf-8")
    assert "No nucleus is scored with the thresholds that it has chosen" in text
    assert text.count("optimistic") == optimistic


def test_every_score_and_loss_has_a_name() -> None:
    assert {"bce", "tversky", "objectness", "geometry", "distillation", "consistency", "total"} <= set(LOSSES)
    assert all(label != key for key, label in LABELS.items())


def test_facts_of_a_card_are_words() -> None:
    facts = card_facts(load_bundle(pretrained_bundle()).card.training)
    labels, texts = zip(*facts, strict=True)
    assert ("nuclei in them", "21,883") in facts
    assert ("started from", "an earlier training of the same model, created 2026-12-01") in facts
    assert not [text for text in texts if "{" in text or "'" in text], "no raw dictionary"
    assert not [label for label in labels if "_" in label]
    adapted = {
        "training_nuclei": 5,
        "stage": "all",
        "start": {"name": "nuclei-he", "student": "5b6a"},
        "comparison": {"nuclei": 3},
        "verdict": ["a"],
        "share": 0.6,
        "recommended": "start",
        "my_note": "x_y",
    }
    assert card_facts(adapted) == [
        ("nuclei in them", "5"),
        ("networks trained", "teacher and student"),
        ("started from", "nuclei-he"),
        ("share of what was learnt", "60%"),
        ("model kept", "the start, as it was"),
        ("my note", "x_y"),
    ]
