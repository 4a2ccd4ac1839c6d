"""Bundles: whole, checked, and never half-written."""

from __future__ import annotations

from pathlib import Path

import pytest

from cellgennet_qupath.bundle import Bundle, Card, load_bundle, now, write_bundle
from cellgennet_qupath.core.errors import BundleError


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    weights = tmp_path / "w"
    weights.write_bytes(b"weights")
    teacher = tmp_path / "t"
    (teacher / "deep").mkdir(parents=True)
    (teacher / "deep" / "config.json").write_text("{}", encoding="utf-8")
    card = Card(name="m", created=now(), mpp=0.25)
    return write_bundle(tmp_path / "m.cgn", card, {"student.safetensors": weights, "teacher": teacher})


def test_round_trip(bundle: Bundle) -> None:
    again = load_bundle(bundle.path)
    assert again.card == bundle.card
    assert set(again.card.checksums) == {"student.safetensors", "teacher/deep/config.json"}
    assert again.student.read_bytes() == b"weights"
    assert again.fingerprint == bundle.fingerprint


def test_a_changed_file_is_refused(bundle: Bundle) -> None:
    bundle.student.write_bytes(b"Weights")
    with pytest.raises(BundleError, match="wrong checksum"):
        load_bundle(bundle.path)


def test_a_missing_file_is_refused(bundle: Bundle) -> None:
    bundle.student.unlink()
    with pytest.raises(BundleError, match="missing"):
        load_bundle(bundle.path)


def test_a_damaged_card_is_refused(bundle: Bundle) -> None:
    (bundle.path / "model.yaml").write_text("name: [", encoding="utf-8")
    with pytest.raises(BundleError, match="damaged"):
        load_bundle(bundle.path)


def test_a_card_cannot_point_outside(bundle: Bundle) -> None:
    card = bundle.path / "model.yaml"
    card.write_text(card.read_text(encoding="utf-8") + "  ../w: abc\n", encoding="utf-8")
    with pytest.raises(BundleError, match="outside"):
        load_bundle(bundle.path)


@pytest.mark.parametrize("name", ["nothing", "."])
def test_what_is_no_bundle_is_told(tmp_path: Path, name: str) -> None:
    with pytest.raises(BundleError, match=r"no .*model bundle"):
        load_bundle(tmp_path / name)


def test_writing_replaces_an_older_bundle_and_nothing_else(bundle: Bundle, tmp_path: Path) -> None:
    newer = write_bundle(bundle.path, Card(name="n", created=now()), {"student.safetensors": tmp_path / "w"})
    assert newer.card.name == "n"
    assert not (bundle.path / "teacher").exists()
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    with pytest.raises(BundleError, match="is no model bundle"):
        write_bundle(foreign, Card(name="n", created=now()), {})
