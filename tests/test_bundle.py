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


def test_a_bundle_of_version_0_1_opens(tmp_path: Path) -> None:
    (tmp_path / "student.safetensors").write_bytes(b"weights")
    card = """\
format: 1
name: older
created: '2026-01-31T10:00:00Z'
licence: unspecified
attribution: ''
mpp: 0.5
classes:
- Nucleus
decoding: {foreground: 0.4, peak: 0.3, mean_foreground: 0.5}
teacher_thresholds: {}
config:
  student: {architecture: unet, width: 8, levels: 3}
training: {training_nuclei: 120}
metrics: {student: {pq: 0.6}}
versions: {cellgennet-qupath: 0.1.0}
checksums:
  student.safetensors: 9a129038d9a00aed0cf6a7ea059ca50a813449061ab87848cf1a13eafdf33b2c
"""
    (tmp_path / "model.yaml").write_text(card, encoding="utf-8")
    bundle = load_bundle(tmp_path)
    assert (bundle.card.name, bundle.card.mpp, bundle.config.student.levels) == ("older", 0.5, 3)
    assert not bundle.holds_teacher


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


@pytest.mark.parametrize(
    ("name", "message"),
    [("nothing", "there is no such model bundle"), (".", r"is not a model bundle \(no model\.yaml\)")],
)
def test_a_path_that_is_not_a_bundle_is_reported(tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(BundleError, match=message):
        load_bundle(tmp_path / name)


def test_writing_replaces_an_older_bundle_and_nothing_else(bundle: Bundle, tmp_path: Path) -> None:
    newer = write_bundle(bundle.path, Card(name="n", created=now()), {"student.safetensors": tmp_path / "w"})
    assert newer.card.name == "n"
    assert not (bundle.path / "teacher").exists()
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    with pytest.raises(BundleError, match=r"is not a model bundle \(no model\.yaml\)"):
        write_bundle(foreign, Card(name="n", created=now()), {})
