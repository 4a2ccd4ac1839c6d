"""A slide is judged once: whichever command looks at it, the same sentences come out."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from cellgennet_qupath.api import open_project
from cellgennet_qupath.bundle import Bundle
from cellgennet_qupath.core.config import ClassNames, Config
from cellgennet_qupath.evaluation.regions import folder_regions, project_regions
from cellgennet_qupath.slides.judgement import judge_slide
from cellgennet_qupath.slides.reader import open_slide
from cellgennet_qupath.training.data import load_training_data
from tests.drawn_tissue import tissue
from tests.helpers import Recorder, invoke
from tests.projects import annotate, outlined, save_slide, write_project

BROWN, PINK, PURPLE = (110, 70, 40), (225, 170, 200), (95, 60, 140)


def odd_slide(file: Path, oddity: str) -> Path:
    image, labels = tissue(0, 400)
    if oddity in ("brown", "both"):
        image[(labels > 0) & (labels % 2 == 0)] = BROWN
    if oddity in ("black", "both"):
        image[:, 300:] = 0
    if oddity == "grey":
        image[:] = image.mean(axis=2, keepdims=True)
    return save_slide(file, image)


@pytest.mark.parametrize(
    ("oddity", "words"),
    [
        ("nothing", []),
        ("brown", ["DAB"]),
        ("black", ["uniform areas"]),
        ("both", ["uniform areas", "DAB"]),
        ("grey", ["is grey"]),
    ],
)
def test_all_commands_say_the_same(
    tmp_path: Path,
    untrained: Bundle,
    oddity: str,
    words: list[str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    project = write_project(tmp_path / "p", [odd_slide(tmp_path / "s.png", oddity)])
    drawn = outlined(0, 5, 5, 190, "Training", 400) + outlined(0, 205, 5, 190, "Validation", 400)
    annotate(project, 1, drawn)
    with open_slide(tmp_path / "s.png") as reader:
        sentences = judge_slide(reader, 0.25).sentences
    assert len(sentences) == len(words)
    assert all(word in sentence for word, sentence in zip(words, sentences, strict=True))
    expected = [f"s.png: {sentence}" for sentence in sentences]

    _, out, _ = invoke(capsys, "inspect", project, "--backend", "files", "--json")
    (image,) = json.loads(out)["images"]
    assert [one["sentence"] for one in image["findings"] if one["kind"] == "slide"] == sentences
    train, evaluation = Recorder(), Recorder()
    with open_project(project, backend="files", writable=False) as opened:
        data = load_training_data(opened, Config(), None, train)
        project_regions(opened, ClassNames(), reporter=evaluation)
    assert data.stain == ("H&E" if oddity in ("nothing", "black") else "")
    assert list(data.notes) == train.warnings
    _, _, err = invoke(capsys, "segment", project, "-m", untrained.path, "--backend", "files")
    for said in (train.warnings, evaluation.warnings, err.replace("Warning: ", "").splitlines()):
        assert [line for line in said if line in expected] == expected
        assert sum("H&E" in line or "no nuclei are looked for" in line for line in said) == len(expected)


def test_images_of_a_folder_are_judged_and_other_stains_of_a_model_respected(tmp_path: Path) -> None:
    odd_slide(tmp_path / "images" / "a.png", "both")
    save_slide(tmp_path / "labels" / "a.png", np.zeros((400, 400, 3), np.uint8))
    said = {}
    for stain in ("H&E", "H-DAB"):
        listener = Recorder()
        folder_regions(tmp_path, mpp=0.25, stain=stain, reporter=listener)
        said[stain] = [line.partition(" on ")[0][:40] for line in listener.warnings]
    assert len(said["H&E"]) == 2
    assert said["H-DAB"] == said["H&E"][:1]


@pytest.mark.parametrize(
    ("image_type", "channels", "words"),
    [
        ("BRIGHTFIELD_H_DAB", 3, "Brightfield (H-DAB), not H&E"),
        ("FLUORESCENCE", 3, "Fluorescence, not H&E"),
        ("", 4, "has 4 channels"),
        ("BRIGHTFIELD_H_E", 3, ""),
    ],
)
def test_what_qupath_records_counts(tmp_path: Path, image_type: str, channels: int, words: str) -> None:
    with open_slide(odd_slide(tmp_path / "s.png", "nothing")) as reader:
        judgement = judge_slide(reader, None, image_type, channels)
    assert words in judgement.unlike
    assert bool(judgement.sentences) == bool(words)
