"""Bundles: whole, checked, and never half-written."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from cellgennet_qupath.bundle import Bundle, Card, check_output, load_bundle, now, write_bundle
from cellgennet_qupath.core.errors import BundleError

from .helpers import Recorder


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


def rewrite(bundle: Bundle, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the values of a card, as another version would have written them."""
    file = bundle.path / "model.yaml"
    card = yaml.safe_load(file.read_text(encoding="utf-8"))
    change(card)
    file.write_text(yaml.safe_dump(card, sort_keys=False), encoding="utf-8")


def test_a_card_cut_off_anywhere_is_refused(bundle: Bundle) -> None:
    card = bundle.path / "model.yaml"
    whole = card.read_bytes()
    for length in range(0, len(whole) - 1, 7):
        card.write_bytes(whole[:length])
        with pytest.raises(BundleError):
            load_bundle(bundle.path)


@pytest.mark.parametrize(
    "change",
    [
        lambda card: card.update(mpp=0.5),
        lambda card: card.update(classes=["Other"]),
        lambda card: card["decoding"].update(foreground=0.9),
        lambda card: card["config"].update(normalisation={"low": 2.0, "high": 99.0}),
        lambda card: card["config"].update(student={"width": 16}),
    ],
)
def test_a_changed_value_that_segmentation_reads_is_refused(
    bundle: Bundle, change: Callable[[dict[str, Any]], object]
) -> None:
    rewrite(bundle, change)
    with pytest.raises(BundleError, match="wrong checksum"):
        load_bundle(bundle.path)


def test_fields_that_only_people_read_can_be_edited(bundle: Bundle) -> None:
    rewrite(bundle, lambda card: card.update(licence="CC0", attribution="us"))
    assert load_bundle(bundle.path).card.licence == "CC0"


def test_cards_are_read_as_people_write_them(bundle: Bundle) -> None:
    rewrite(
        bundle,
        lambda card: card.update(species="human", name=2024, created=dt.date(2024, 5, 1), stain=""),
    )
    listener = Recorder()
    card = load_bundle(bundle.path, listener).card
    assert (card.species, card.name, card.created, card.stain) == (["human"], "2024", "2024-05-01", "")
    assert listener.warnings == []
    rewrite(bundle, lambda card: card.update(species=5, metrics=[1]))
    load_bundle(bundle.path, listener)
    assert "or edited; what this version does not know or cannot read is ignored" in listener.warnings[0]
    assert "`species`" in listener.warnings[0] and "`metrics`" in listener.warnings[0]


@pytest.mark.parametrize("name", ["student2.safetensors", "notes.txt", "report/x.html"])
def test_files_that_the_card_does_not_list_are_reported(bundle: Bundle, name: str) -> None:
    (bundle.path / name).parent.mkdir(exist_ok=True)
    (bundle.path / name).write_text("x", encoding="utf-8")
    listener = Recorder()
    load_bundle(bundle.path, listener)
    (line,) = listener.warnings
    assert name in line and "not part of the bundle" in line


def test_files_of_the_teacher_that_the_card_does_not_list_are_refused(bundle: Bundle) -> None:
    (bundle.teacher / "weights_best.h5").write_bytes(b"other weights")
    with pytest.raises(BundleError, match="not listed"):
        load_bundle(bundle.path)


def test_files_that_an_operating_system_leaves_are_ignored(bundle: Bundle) -> None:
    (bundle.path / ".DS_Store").write_bytes(b"x")
    (bundle.teacher / "Thumbs.db").write_bytes(b"x")
    listener = Recorder()
    load_bundle(bundle.path, listener)
    assert listener.warnings == []


@pytest.mark.parametrize(
    ("change", "names"),
    [
        (lambda card: card.update(shade="blue"), ["shade"]),
        (lambda card: card["config"].update(loss={"bar": 1}), ["loss.bar"]),
        (lambda card: card["config"].update(augmentation={"x": 1}, teacher={"grid": 8}), ["augm", "teacher"]),
        (lambda card: card["config"].update(student={"warp": 1, "batch": 2}), None),
        (lambda card: card["config"].update(student={"architecture": "vit"}), None),
        (lambda card: card["config"].update(normalisation={"kind": "macenko"}), None),
    ],
)
def test_a_card_of_another_version_is_read_leniently_or_refused_by_name(
    bundle: Bundle, change: Callable[[dict[str, Any]], object], names: list[str] | None
) -> None:
    rewrite(bundle, change)
    listener = Recorder()
    if names is None:
        with pytest.raises(BundleError, match="this version does not know") as refused:
            load_bundle(bundle.path)
        assert "damaged" not in str(refused.value)
        return
    load_bundle(bundle.path, listener)
    (line,) = listener.warnings
    assert all(name in line for name in names)


@pytest.mark.parametrize("version", [2, 99, 0, "1.5", [1]])
def test_the_format_is_checked_before_anything_else(bundle: Bundle, version: object) -> None:
    text = yaml.safe_dump({"format": version, "all": "new"})
    (bundle.path / "model.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(BundleError, match=r"newer version|unknown format") as refused:
        load_bundle(bundle.path)
    assert "damaged" not in str(refused.value)


@pytest.mark.parametrize("place", ["teacher/weights.h5", "notes", "student.safetensors", "report"])
def test_links_in_a_bundle_are_refused(bundle: Bundle, tmp_path: Path, place: str) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    link = bundle.path / place
    link.unlink(missing_ok=True)
    link.symlink_to(secret, target_is_directory=True)
    with pytest.raises(BundleError, match="is a link"):
        load_bundle(bundle.path)


def test_links_are_not_copied_into_a_bundle(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret", encoding="utf-8")
    teacher = tmp_path / "teacher"
    teacher.mkdir()
    (teacher / "config.json").symlink_to(tmp_path / "secret")
    with pytest.raises(BundleError, match="is a link"):
        write_bundle(tmp_path / "n.cgn", Card(name="n", created=now()), {"teacher": teacher})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["secret", "teacher"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
@pytest.mark.parametrize("name", ["pipe", "teacher/pipe", "model.yaml"])
def test_named_pipes_are_refused_without_waiting(bundle: Bundle, name: str) -> None:
    (bundle.path / name).unlink(missing_ok=True)
    os.mkfifo(bundle.path / name)
    with pytest.raises(BundleError):
        load_bundle(bundle.path)


@pytest.mark.parametrize(
    "text",
    [
        "name: m\n" + "#" * 300_000,
        "a: &a [x, x]\n" + "".join(f"{c}: &{c} [{', '.join(['*a'] * 60)}]\n" for c in "bcd"),
        "a: " + "[" * 200 + "]" * 200,
        "name: &n [*n]",
        "\0",
        "name: m\ncreated: 2026-13-45",
    ],
)
def test_a_card_that_unfolds_or_is_not_plain_is_refused(bundle: Bundle, text: str) -> None:
    (bundle.path / "model.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(BundleError):
        load_bundle(bundle.path)


@pytest.mark.parametrize(
    "change",
    [
        lambda card: card.update(mpp=1e-30),
        lambda card: card.update(mpp=float("inf")),
        lambda card: card.update(mpp=float("nan")),
        lambda card: card.update(decoding={"max_extent_um": 1e12}),
        lambda card: card.update(classes=["x" * 10_000]),
        lambda card: card["config"].update(student={"width": 10**9}),
    ],
)
def test_absurd_values_are_refused(bundle: Bundle, change: Callable[[dict[str, Any]], object]) -> None:
    rewrite(bundle, change)
    with pytest.raises(BundleError):
        load_bundle(bundle.path)


def test_where_a_bundle_cannot_be_written_is_known_before(bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "thesis.txt").write_text("mine", encoding="utf-8")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "model.yaml").write_text("layers: 3", encoding="utf-8")
    (tmp_path / "broken").symlink_to(tmp_path / "nowhere")
    refused = ["w", "w/x.cgn", "w/deep/x.cgn", "thesis", "other", "broken", "m.cgn/n.cgn", "n" * 300, "."]
    for name in refused:
        with pytest.raises(BundleError):
            check_output(tmp_path / name)
    assert check_output(bundle.path) is True
    assert check_output(tmp_path / "new" / "deep" / "n.cgn") is False
    assert not (tmp_path / "new").exists()
    assert not list(tmp_path.glob(".*"))


def test_a_folder_that_cannot_be_written_to_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Tests may run as root, whom no permission stops.
    def refuse(*_: object, **__: object) -> str:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.mkdtemp", refuse)
    with pytest.raises(BundleError, match="Permission denied"):
        check_output(tmp_path / "n.cgn")


def test_files_of_the_user_in_an_older_bundle_stay(bundle: Bundle) -> None:
    (bundle.path / "thesis.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(BundleError, match=r"thesis\.txt"):
        write_bundle(bundle.path, Card(name="n", created=now()), {})
    assert (bundle.path / "thesis.txt").is_file()


def test_a_full_disk_leaves_the_older_bundle_and_nothing_else(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = sorted(path.name for path in tmp_path.iterdir())

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("shutil.copyfile", full)
    with pytest.raises(BundleError, match="No space left"):
        write_bundle(bundle.path, Card(name="n", created=now()), {"student.safetensors": tmp_path / "w"})
    assert load_bundle(bundle.path).card.name == "m"
    assert sorted(path.name for path in tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("mpp", "name"), [(0.25, "40x"), (0.2265, "40x"), (0.5, "20x"), (1.0, "10x"), (0.3333, ""), (None, "")]
)
def test_a_scale_has_the_name_of_an_objective_where_it_is_one(mpp: float | None, name: str) -> None:
    assert Card(name="m", created=now(), mpp=mpp).magnification == name
