"""The roles of classes, and classes that are nearly ours."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cellgennet_qupath.annotations.classes import Role, near_miss, role_of
from cellgennet_qupath.core.config import ClassNames
from cellgennet_qupath.core.config_file import config_from
from cellgennet_qupath.core.errors import ConfigError

CLASSES = ClassNames()


@pytest.mark.parametrize(
    ("name", "role"),
    [
        ("", Role.NUCLEUS),
        ("Nucleus", Role.NUCLEUS),
        ("Training", Role.TRAINING),
        ("Validation", Role.VALIDATION),
        ("Corrected", Role.CORRECTED),
        ("Suggested", Role.SUGGESTED),
        ("Background", Role.BACKGROUND),
        ("Ignore*", Role.IGNORE),
        ("Ignore", Role.IGNORE),
        ("Ignore folds", Role.IGNORE),
        ("Tumor", Role.OTHER),
        ("training", Role.OTHER),
    ],
)
def test_roles(name: str, role: Role) -> None:
    assert role_of(name, CLASSES) is role


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("training", "Training"),
        ("Training ", "Training"),
        (" TRAINING", "Training"),
        ("Training: 2", "Training"),
        ("Training 2", "Training"),
        ("Training_region", "Training"),
        ("Trainnig", "Training"),
        ("Trainings", "Training"),
        ("Validation set", "Validation"),
        ("Validaton", "Validation"),
        ("background", "Background"),
        ("Backgroud", "Background"),
        ("ignore", "Ignore"),
        ("IGNORE*", "Ignore"),
        ("Ingore", "Ignore"),
        ("nucleus", "Nucleus"),
        ("Nuclei", "Nucleus"),
        ("Nucleus: Tumor", "Nucleus"),
        ("Tumor nucleus", "Nucleus"),
        ("corrected", "Corrected"),
    ],
)
def test_near_misses(name: str, meant: str) -> None:
    found = near_miss(name, CLASSES)
    assert found is not None
    assert found[1] == meant


@pytest.mark.parametrize(
    "name",
    [
        "Tumor",
        "Stroma",
        "Immune cells",
        "Necrosis",
        "Other",
        "Region*",
        "Positive",
        "Negative",
        "Tissue",
        "Gland",
    ],
)
def test_classes_of_users_are_not_near_misses(name: str) -> None:
    assert near_miss(name, CLASSES) is None


def test_short_names_allow_fewer_letters() -> None:
    classes = ClassNames(training="ROI", nucleus=("Cell", "Tumor*"))
    assert near_miss("roi", classes) == (Role.TRAINING, "ROI")
    assert near_miss("RIM", classes) is None
    assert near_miss("Cells", classes) == (Role.NUCLEUS, "Cell")
    assert role_of("Tumor: Positive", classes) is Role.NUCLEUS


def test_an_exact_name_comes_before_a_pattern() -> None:
    classes = ClassNames(nucleus=("*",), training="T [1]")
    assert role_of("T [1]", classes) is Role.TRAINING
    assert role_of("Ignore", classes) is Role.IGNORE
    assert role_of("Anything", classes) is Role.NUCLEUS
    assert ClassNames(nucleus="N [1]").is_nucleus("N [1]")


def test_names_in_a_file_of_settings() -> None:
    one = config_from({"classes": {"nucleus": "Nucleus"}}, "c.yaml").classes
    many = config_from({"classes": {"nucleus": ["Tumor*", "Immune cells"]}}, "c.yaml").classes
    assert one == CLASSES
    assert one.detection_class == "Nucleus"
    assert many.detection_class == "Immune cells"
    assert ClassNames(nucleus=("T*",)).detection_class == "Nucleus"
    for wrong in ([], 3, [1]):
        with pytest.raises(ConfigError, match=r"classes\.nucleus"):
            config_from({"classes": {"nucleus": wrong}}, "c.yaml")


@given(st.text(max_size=40))
def test_every_name_has_a_role(name: str) -> None:
    role = role_of(name, CLASSES)
    miss = near_miss(name, CLASSES)
    assert role is not Role.OTHER or miss is None or miss[1] != name
