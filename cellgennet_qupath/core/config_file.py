"""Settings from files: a user's YAML, with one line about what is wrong, and those on a bundle's card."""

from __future__ import annotations

import difflib
import re
from datetime import date
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from .config import Config, Section
from .errors import ConfigError
from .plain_files import NotPlainError
from .plain_yaml import YamlError, read_yaml
from .progress import SILENT, Reporter


def load_config(path: Path | None, reporter: Reporter = SILENT) -> Config:
    """The configuration of a YAML file, or the defaults without one.

    Old names of settings are accepted and reported once. Raises ConfigError naming the first key at fault.
    """
    if path is None:
        return Config()
    try:
        raw = read_yaml(path)
    except OSError as error:
        raise ConfigError(
            path, f"cannot be read ({error.strerror})", "Check the path given with -c"
        ) from error
    except NotPlainError as error:
        raise ConfigError(path, error.reason, "Give a YAML file of settings") from error
    except YamlError as error:
        advice = "Check the indentation and the colons" if error.is_syntax else "Correct the file"
        raise ConfigError(path, str(error), advice) from error
    if raw is None:
        return Config()
    if not isinstance(raw, dict):
        raise ConfigError(path, "contains no settings", "Write `name: value` lines")
    config = config_from(raw, path)
    renamed = _renamed(raw)
    if renamed:
        reporter.warn(f"{path}: settings were renamed: {', '.join(renamed)}. The old names still work.")
    return config


def _renamed(raw: dict[str, Any]) -> list[str]:
    """Which settings of a file have their old names: "section.old is now section.new"."""
    return [
        f"{section}.{key} is now {section}.{field.default.old_names()[key]}"
        for section, field in Config.model_fields.items()
        if isinstance(field.default, Section) and isinstance(raw.get(section), dict)
        for key in raw[section]
        if key in field.default.old_names()
    ]


def config_from(raw: object, source: object) -> Config:
    """A checked configuration from plain data; ``source`` names it in errors."""
    try:
        return Config.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        # What follows are the kinds of value that a setting may have.
        place = first["loc"][:2]
        key = ".".join(str(part) for part in place)
        kinds = dict.fromkeys(one["msg"] for one in error.errors() if one["loc"][:2] == place)
        messages = [message.removeprefix("Value error, ") for message in kinds]
        problem = _in_words(first["type"], first["loc"], first["input"])
        problem = problem or ", or ".join(message[:1].lower() + message[1:] for message in messages)
        raise ConfigError(
            source, f"`{key}`: {problem}" if key else problem, "See docs/configuration.md"
        ) from error


def _in_words(kind: str, place: tuple[int | str, ...], value: object) -> str:
    """What is wrong with a setting that is misspelt or not written as meant; "" for anything else."""
    if kind == "extra_forbidden":
        near = _similar(tuple(str(part) for part in place))
        hint = f"; did you mean {' or '.join(f'`{name}`' for name in near)}?" if near else ""
        return f"there is no such setting{hint}"
    if kind == "string_type" and isinstance(value, int | float | date):
        return f"{value} is a number or a date in YAML; put the name in quotation marks"
    comma = re.fullmatch(r"\s*([+-]?\d+),(\d+)\s*", value) if isinstance(value, str) else None
    return f"{value} has a decimal comma; write {comma[1]}.{comma[2]}" if comma else ""


def _similar(place: tuple[str, ...]) -> list[str]:
    """The settings that may be meant by an unknown one: in its section, else of its name in another one."""
    names: dict[str, list[str]] = {"": list(Config.model_fields)}
    for section, field in Config.model_fields.items():
        if isinstance(field.default, Section):
            names[section] = list(type(field.default).model_fields)
    section, key = (place[0], place[1]) if len(place) > 1 else ("", place[0])
    near = difflib.get_close_matches(key, names.get(section, []), n=1)
    if near:
        return [".".join(filter(None, (section, near[0])))]
    return [".".join(filter(None, (other, key))) for other in names if key in names[other]]


NEEDED_BY_SEGMENTATION = {
    "student": ("architecture", "stride", "width", "levels"),
    "normalisation": ("low", "high"),
}
"""The settings that a bundle's weights depend on, by section. All others only matter in training."""


def config_of_bundle(raw: dict[str, Any]) -> tuple[Config, list[str]]:
    """The settings of a bundle, perhaps of another version, and the names of those that were ignored.

    Unknown or impossible settings that only training reads get their defaults. Raises ConfigError, whose
    reason names the setting, where segmentation might depend on it.
    """
    left: dict[str, Any] = {
        name: dict(value) if isinstance(value, dict) else value for name, value in raw.items()
    }
    ignored: list[str] = []
    while True:
        try:
            return Config.model_validate(left), ignored
        except ValidationError as error:
            first = error.errors()[0]
            place = tuple(str(part) for part in first["loc"][:2])
            if _may_affect_segmentation(place, first["type"]):
                what = "an unknown setting" if first["type"] == "extra_forbidden" else "an unknown value"
                raise ConfigError("config", f"has {what} (`{'.'.join(place)}`)") from error
            dropped = _drop(left, place)
            if not dropped:
                raise ConfigError("config", f"cannot be read (`{'.'.join(place)}`)") from error
            ignored += dropped


def _may_affect_segmentation(place: tuple[str, ...], problem: str) -> bool:
    """Whether segmentation reads a setting, or might in the version that wrote it (unknown ones)."""
    if not place or place[0] not in NEEDED_BY_SEGMENTATION:
        return False
    return len(place) == 1 or place[1] in NEEDED_BY_SEGMENTATION[place[0]] or problem == "extra_forbidden"


def _drop(settings: dict[str, Any], place: tuple[str, ...]) -> list[str]:
    """Remove the setting at ``place``, or else its section; without a place all that only training reads.

    Returns the names of what was removed.
    """
    if not place:  # settings that contradict each other
        names = [name for name in settings if name not in NEEDED_BY_SEGMENTATION]
        student = settings.get("student", {})
        extra = [name for name in student if name not in NEEDED_BY_SEGMENTATION["student"]]
        for name in names:
            del settings[name]
        for name in extra:
            del student[name]
        return [str(name) for name in names] + [f"student.{name}" for name in extra]
    section = settings.get(place[0])
    if len(place) == 2 and isinstance(section, dict):
        # Errors name a renamed setting by its new name, and every key as text.
        old = Config.model_fields[place[0]].default.old_names() if place[0] in Config.model_fields else {}
        for key in [key for key in section if place[1] in (str(key), old.get(key))]:
            del section[key]
            return [".".join(place)]
    for key in [key for key in settings if str(key) == place[0]]:
        del settings[key]
        return [place[0]]
    return []
