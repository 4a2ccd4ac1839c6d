"""Settings under their old names: still read, reported once in a user's file, silent in a bundle."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path

import pytest
import yaml
from pydantic import BaseModel, ValidationError

from cellgennet_qupath.annotations.classes import CORRECTED
from cellgennet_qupath.core.config import FIXED_CLASSES, Config
from cellgennet_qupath.core.config_file import config_from, config_of_bundle, load_config
from cellgennet_qupath.core.errors import ConfigError
from cellgennet_qupath.core.progress import SILENT, Remembering
from cellgennet_qupath.qupath.suggested import SUGGESTED
from cellgennet_qupath.segmentation.decode import DecodingConfig

OLD = "pseudo:\n  sharpness: 2\n  miss_doubt: 0.5\nloss:\n  contact: 4\n"


def written(folder: Path, text: str) -> Path:
    file = folder / "settings.yaml"
    file.write_text(text, encoding="utf-8")
    return file


def test_old_names_in_a_file_of_settings_are_read_and_reported_once(tmp_path: Path) -> None:
    listener = Remembering(SILENT)
    config = load_config(written(tmp_path, OLD), listener)
    assert (config.pseudo.uncertainty_decay, config.pseudo.background_weight) == (2, 0.5)
    assert config.loss.touching_weight == 4
    (line,) = listener.warnings
    assert "pseudo.sharpness is now pseudo.uncertainty_decay" in line
    assert "pseudo.miss_doubt is now pseudo.background_weight" in line
    assert "loss.contact is now loss.touching_weight" in line


def _numbers(model: type[BaseModel]) -> list[tuple[type[BaseModel], str]]:
    """The numeric settings of a model and of its sections."""
    found: list[tuple[type[BaseModel], str]] = []
    for name, field in model.model_fields.items():
        if isinstance(field.default, BaseModel):
            found += _numbers(type(field.default))
        elif type(field.default) in (int, float) or name == "mpp":
            found.append((model, name))
    return found


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan, 1e300, -1e300])
@pytest.mark.parametrize(("model", "name"), [*_numbers(Config), *_numbers(DecodingConfig)])
def test_every_number_has_bounds(model: type[BaseModel], name: str, value: float) -> None:
    with pytest.raises(ValidationError):
        model.model_validate({name: value})


def test_new_names_are_not_reported(tmp_path: Path) -> None:
    listener = Remembering(SILENT)
    config = load_config(written(tmp_path, "loss: {touching_weight: 4}"), listener)
    assert config.loss.touching_weight == 4
    assert listener.warnings == []


def test_one_setting_under_both_names_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"loss\.contact"):
        load_config(written(tmp_path, "loss: {contact: 4, touching_weight: 4}"))


def test_new_names_are_written() -> None:
    written = config_from(yaml.safe_load(OLD), "test").model_dump(mode="json")
    assert written["loss"]["touching_weight"] == 4
    assert not {"contact", "sharpness", "miss_doubt"} & {*written["loss"], *written["pseudo"]}


def test_a_bundle_with_the_old_names_of_settings_opens() -> None:
    config, ignored = config_of_bundle({"loss": {"contact": 4}, "pseudo": {"miss_doubt": 0.5}})
    assert (config.loss.touching_weight, config.pseudo.background_weight) == (4, 0.5)
    assert not ignored


def test_runs_of_earlier_versions_are_recognised_as_the_same() -> None:
    # Of the version before the settings were renamed: its runs can be resumed.
    digest = hashlib.sha256(Config().fingerprint_text().encode()).hexdigest()
    assert digest == "8609b1bac77e4ec7f327a8a5d73c28ef4ba7dfaa0d85a4189716066c1721e119"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("teacher: {depth: 5, grid: 4}", "multiple of grid"),
        ("student: {patch: 640}", r"student\.patch"),
        ("student: {batch: 100000}", r"student\.batch"),
        ("loss: {bce: .inf}", r"loss\.bce"),
        ("student: {learning_rate: .nan}", "learning_rate"),
        ("- 1", "no settings"),
        ("a: &a [*a]", "contains itself"),
        ("seed: " + "[" * 100 + "]" * 100, "nested too deeply"),
        ("# " + "x" * 300_000, "too large"),
        ("a: \x00", "not valid YAML"),
    ],
)
def test_impossible_settings_are_one_line_that_names_them(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem) as refused:
        load_config(written(tmp_path, text))
    assert len(str(refused.value).splitlines()) == 1


def test_a_folder_or_a_missing_file_of_settings_is_one_line(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing.yaml"):
        with pytest.raises(ConfigError):
            load_config(path)


def test_aliases_of_yaml_can_be_used(tmp_path: Path) -> None:
    text = "teacher: &steps {epochs: 3, steps_per_epoch: 5}\nstudent: *steps\n"
    config = load_config(written(tmp_path, text))
    assert config.student.epochs == config.teacher.epochs == 3


def test_patches_larger_than_tiles_are_possible_without_pseudo_labels(tmp_path: Path) -> None:
    text = "student: {patch: 640}\nloss: {distillation: 0}\n"
    assert load_config(written(tmp_path, text)).student.patch == 640


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("student: {epochs: 3}\nseed: 1\nstudent: {width: 16}\n", "gives `student` twice"),
        ("student:\n  epochs: 3\n  epochs: 4\n", "gives `epochs` twice"),
        ("seed: 1\n'seed': 2\n", "gives `seed` twice"),
        ("classes: {training: A, validation: A}", "`classes`: `training` and `validation` are the same .*A"),
        ("classes: {nucleus: Training}", "`training` and `nucleus` are the same class"),
        ("classes: {nucleus: [Tumor, Background]}", "`background` and `nucleus` are the same"),
        ("classes: {background: 'Ignore*'}", "`background` and `ignore` are the same"),
        ("classes: {training: ''}", "`classes.training`"),
        ("classes: {nucleus: [A, '']}", "`classes.nucleus"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(tmp_path: Path, text: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why) as caught:
        load_config(written(tmp_path, text))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "classes:\nstudent:\n# nothing yet\n",
        "student: {<<: {epochs: 3}, width: 16}\nteacher: {<<: {epochs: 3}}\n",
        "classes: {nucleus: [Nucleus, Tumor, 'Ignore tumour', '*']}",
    ],
)
def test_sections_without_settings_and_names_inside_patterns_are_fine(tmp_path: Path, text: str) -> None:
    config = load_config(written(tmp_path, text))
    assert config.classes.training == "Training"


def test_a_bundle_whose_classes_contradict_each_other_opens() -> None:
    config, ignored = config_of_bundle({"classes": {"training": "A", "validation": "A"}, "seed": 3})
    assert (config.classes.training, config.seed, ignored) == ("Training", 3, ["classes"])


@pytest.mark.parametrize("text", ["seed: 010", "seed: 1:30", "mpp: 1:15", "student: {epochs: 012}"])
def test_numbers_that_yaml_reads_in_another_base_are_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match="does not read as it looks"):
        load_config(written(tmp_path, text))


@pytest.mark.parametrize(
    "text", ["seed: 0", "seed: 08", "mpp: 0.25", "mpp: .5", "student: {epochs: '010'}", "mpp: 2.5e-1"]
)
def test_plain_numbers_are_read(tmp_path: Path, text: str) -> None:
    load_config(written(tmp_path, text))


@pytest.mark.parametrize(
    "text",
    [
        "seed: yes",
        "loss: {distillation: off}",
        "classes: {nucleus: [Nucleus, no]}",
        "pseudo: {sharpness: on}",
    ],
)
def test_yes_and_no_are_no_numbers_and_no_names(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match="yes, no, on, off"):
        load_config(written(tmp_path, text))


def test_an_unknown_switch_of_a_newer_bundle_is_left_out_alone() -> None:
    config, ignored = config_of_bundle({"loss": {"fancy": True, "bce": 0.5}})
    assert (config.loss.bce, ignored) == (0.5, ["loss.fancy"])


@pytest.mark.parametrize("text", ["classes: {training: 12}", "classes: {nucleus: 2024-01-01}"])
def test_a_name_of_digits_needs_quotation_marks(tmp_path: Path, text: str) -> None:
    with pytest.raises(
        ConfigError, match=r"`classes\.(training|nucleus)`: .* put the name in quotation marks"
    ):
        load_config(written(tmp_path, text))


def test_all_kinds_of_value_that_a_setting_may_have_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"`adaptation\.scale`: input should be 'auto', or .* equal to 2"):
        load_config(written(tmp_path, "adaptation: {scale: 3}"))


def test_classes_with_a_fixed_meaning_are_not_given_another(tmp_path: Path) -> None:
    assert set(FIXED_CLASSES) == {CORRECTED, SUGGESTED}
    for text in ("{nucleus: [Nucleus, Suggested]}", "{training: Corrected}", "{ignore: Corrected}"):
        with pytest.raises(ConfigError, match="a meaning of its own"):
            load_config(written(tmp_path, f"classes: {text}"))
