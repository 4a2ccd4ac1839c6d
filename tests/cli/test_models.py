"""``cellgennet models``: what is there, and what each model was made for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cellgennet_qupath.bundle import INTENDED_USE, Card, now, pretrained_bundle, write_bundle

from ..helpers import invoke


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a bundle in it and another one a level deeper."""
    (tmp_path / "weights").write_bytes(b"weights")
    files = {"student.safetensors": tmp_path / "weights"}
    write_bundle(tmp_path / "lab.cgn", Card(name="lab", created=now(), mpp=0.5, species=["human"]), files)
    write_bundle(tmp_path / "older" / "dab.cgn", Card(name="dab", created=now(), stain=""), files)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_shipped_one_comes_first_and_says_what_it_learnt_from(
    capsys: pytest.CaptureFixture[str], folder: Path
) -> None:
    code, out, err = invoke(capsys, "models")
    assert (code, err) == (0, "")
    assert out.startswith("nuclei-he (shipped with the package)")
    assert "H&E, 0.3333 µm per pixel, human and mouse" in out
    assert "21,883 nuclei in 543 images" in out
    assert INTENDED_USE in out


def test_those_found_here_have_their_own_cards(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    for arguments in (["models", "--json"], ["models", "list", "--json"], ["models", "list", ".", "--json"]):
        code, out, _ = invoke(capsys, *arguments)
        models = json.loads(out)["models"]
        assert code == 0
        assert [(m["name"], m["shipped"]) for m in models] == [
            ("nuclei-he", True), ("nuclei-he-fast", True), ("lab", False), ("dab", False),
        ]  # fmt: skip
        assert [m["use"] for m in models[:2]] == ["pretrained", "pretrained-fast"]
        assert models[2]["learnt_from"] == "H&E, 20x (0.5 µm per pixel), human"
        assert models[3]["learnt_from"] == "a stain unlike H&E, unknown magnification, species not recorded"
        assert {m["intended_use"] for m in models} == {INTENDED_USE}


def test_a_damaged_one_is_listed_with_the_reason(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    (folder / "lab.cgn" / "student.safetensors").write_bytes(b"other")
    code, out, _ = invoke(capsys, "models")
    assert code == 0
    assert "cannot be used" in out
    assert "wrong checksum" in out
    assert "dab" in out


def test_a_folder_is_named(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    code, out, _ = invoke(capsys, "models", "list", folder / "older" / "dab.cgn", "--json")
    assert [m["name"] for m in json.loads(out)["models"]] == ["nuclei-he", "nuclei-he-fast", "dab"]
    code, _, err = invoke(capsys, "models", "list", folder / "nowhere")
    assert code == 2
    assert "nowhere: is not a folder." in err
    code, out, _ = invoke(capsys, "models", "list", pretrained_bundle(), "--json")
    assert [m["shipped"] for m in json.loads(out)["models"]] == [True, True]


def test_a_bundle_that_is_being_written_is_not_listed(
    capsys: pytest.CaptureFixture[str], folder: Path
) -> None:
    (folder / "lab.cgn").rename(folder / ".1234.part")
    _, out, _ = invoke(capsys, "models", "--json")
    assert [m["name"] for m in json.loads(out)["models"]] == ["nuclei-he", "nuclei-he-fast", "dab"]


def test_notes_for_readers_may_be_added_to_a_card(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    card = folder / "lab.cgn" / "model.yaml"
    text = card.read_text(encoding="utf-8")
    card.write_text(text.replace("species:\n- human\n", "species: [rat]\n"), encoding="utf-8")
    _, out, _ = invoke(capsys, "models", "--json")
    assert json.loads(out)["models"][2]["species"] == ["rat"]


def test_a_folder_without_a_subcommand_is_answered_with_the_one_that_is_meant(
    capsys: pytest.CaptureFixture[str], folder: Path
) -> None:
    (folder / "my models").mkdir()
    code, _, err = invoke(capsys, "models", "my models")
    assert (code, 'cellgennet models list "my models"' in err) == (2, True)
    code, _, err = invoke(capsys, "models", "nothing.cgn")
    assert (code, "cellgennet models list FOLDER" in err) == (2, True)


def test_cards_that_a_person_edited_are_listed(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    files = {"student.safetensors": folder / "weights"}
    cards: list[tuple[dict[str, Any], dict[str, Any]]] = [
        ({"training_nuclei": "many", "images": 3}, {"student": 0.5}),
        ({"training_nuclei": 20}, {"student": {"f1@0.5": "good", "pq": 0.5}}),
        ({"training_nuclei": 20, "images": [1]}, {"student": ["f1@0.5", "pq"]}),
    ]
    for number, (training, metrics) in enumerate(cards):
        card = Card(name=f"n{number}", created="", training=training, metrics=metrics)
        write_bundle(folder / "edited" / f"{number}.cgn", card, files)
    code, out, err = invoke(capsys, "models", "list", "edited")
    assert (code, err) == (0, "")
    assert out.count("trained on:   20 nuclei\n") == 2


@pytest.mark.parametrize("stain", ["h&e", "HE", "H & E ", "H and E", "Haematoxylin and eosin"])
def test_the_stain_may_be_spelt_in_another_way(stain: str) -> None:
    assert Card(name="a", created="", stain=stain).stain == "H&E"
    assert Card(name="a", created="", stain="PAS").stain == "PAS"
