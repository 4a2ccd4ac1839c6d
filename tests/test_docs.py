"""The documentation is true: settings with defaults and bounds, commands, options, links, architecture."""

from __future__ import annotations

import re
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType, UnionType
from typing import Any, Union, get_args, get_origin

import annotated_types
import click
import pytest
import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from cellgennet_qupath.cli import COMMANDS, cellgennet
from cellgennet_qupath.core.config import Config
from cellgennet_qupath.core.config_file import config_from

from .test_architecture import FLOORS, HOMES

ROOT = Path(__file__).resolve().parents[1]
CONFIGURATION = ROOT / "docs" / "configuration.md"
PAGES = [
    *sorted(ROOT.glob("*.md")),
    *sorted((ROOT / "docs").glob("*.md")),
    ROOT / "sample_projects" / "README.md",
    ROOT / "findings" / "README.md",
]


def sections() -> dict[str, type[BaseModel]]:
    models: dict[str, type[BaseModel]] = {"": Config}
    for name, field in Config.model_fields.items():
        if isinstance(field.default, BaseModel):
            models[name] = type(field.default)
    return models


def settings() -> dict[str, FieldInfo]:
    return {
        f"{section}.{name}".lstrip("."): field
        for section, model in sections().items()
        for name, field in model.model_fields.items()
        if not isinstance(field.default, BaseModel)
    }


def documented() -> dict[str, tuple[str, str, str]]:
    """(default, bounds, meaning) of each setting of the tables."""
    rows: dict[str, tuple[str, str, str]] = {}
    section = ""
    for line in CONFIGURATION.read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            named = re.match(r"## `(\w+)`", line)
            section = named[1] + "." if named else ""
        row = re.fullmatch(r"\| `(\w+)` \| (.+?) \| (.+?) \| (.+?) \|", line)
        if row:
            key = section + row[1]
            assert key not in rows, f"{key} is documented twice"
            rows[key] = (row[2], row[3], row[4])
    return rows


def bounds_of(field: FieldInfo) -> list[object]:
    """The numbers that bound a setting, wherever in its type they appear."""

    def walk(kind: Any) -> list[Any]:
        if get_origin(kind) in (Union, UnionType):
            return [item for part in get_args(kind) for item in walk(part)]
        extra = getattr(kind, "__metadata__", ())
        return [item for e in extra for item in (e.metadata if isinstance(e, FieldInfo) else [e])]

    numbers: list[object] = []
    for constraint in [*field.metadata, *walk(field.annotation)]:
        for kind, name in (
            (annotated_types.Ge, "ge"),
            (annotated_types.Gt, "gt"),
            (annotated_types.Le, "le"),
            (annotated_types.MultipleOf, "multiple_of"),
        ):
            if isinstance(constraint, kind):
                numbers.append(getattr(constraint, name))
        if isinstance(constraint, annotated_types.Lt):
            # For integers the page names the largest allowed value.
            whole = isinstance(field.default, int)
            numbers.append(constraint.lt - 1 if whole else constraint.lt)  # type: ignore[operator]
    if repr(get_origin(field.annotation)) == "typing.Literal":
        numbers += get_args(field.annotation)
    return numbers


def test_every_setting_is_documented_and_no_other() -> None:
    assert set(documented()) == set(settings())


@pytest.mark.parametrize("key", settings())
def test_the_default_is_the_true_one(key: str) -> None:
    text = documented()[key][0]
    value = None if text == "none" else yaml.safe_load(text.strip("`"))
    default = settings()[key].default
    assert value == default
    assert type(value) is type(default)


@pytest.mark.parametrize("key", settings())
def test_the_bounds_are_documented(key: str) -> None:
    text, bounds = documented()[key][1], bounds_of(settings()[key])
    if any(isinstance(bound, str) for bound in bounds):
        assert set(re.findall(r"`([^`]+)`", text)) == set(bounds)
        return
    numbers = {float(n) for n in re.findall(r"\d+(?:\.\d+)?", text)}
    assert numbers == {float(n) for n in bounds}  # type: ignore[arg-type]


def test_bounds_are_found_in_every_kind_of_type() -> None:
    fields = settings()
    assert bounds_of(fields["mpp"]) == [0, 10]
    assert bounds_of(fields["teacher.grid"]) == [1, 2, 4]
    assert bounds_of(fields["student.patch"]) == [64, 4096, 32]
    assert bounds_of(fields["seed"]) == [0, 2**31 - 1]


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_examples_of_settings_are_valid(page: Path) -> None:
    for block in re.findall(r"```yaml\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
        config_from(yaml.safe_load(block), page)


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_links_lead_to_files_and_headings(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith(("https://", "http://")):
            continue
        name, _, heading = target.partition("#")
        file = page.parent / name if name else page
        assert file.exists(), f"{page.name} links to {target}"
        if heading:
            assert heading in anchors(file), f"{page.name} links to {target}"


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def command_lines(page: Path) -> list[list[str]]:
    """Every `cellgennet ...` of a page's code blocks and code spans, split into words."""
    text = page.read_text(encoding="utf-8")
    blocks = re.findall(r"```\w*\n(.*?)```", text, re.DOTALL)
    spans = re.findall(r"(?<!`)`([^`\n]+)`(?!`)", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    lines = [line.split("#")[0].strip() for block in blocks for line in block.splitlines()] + spans
    return [line.split() for line in lines if line.split()[:1] == ["cellgennet"]]


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_commands_and_options_exist(page: Path) -> None:
    for _, *words in command_lines(page):
        options = {option for parameter in cellgennet.params for option in parameter.opts}
        if words and not words[0].startswith("-"):
            assert words[0] in COMMANDS, f"{page.name} names the command {words[0]}"
            with click.Context(cellgennet) as context:
                command = cellgennet.get_command(context, words[0])
            assert command is not None
            commands = [command]
            if isinstance(command, click.Group) and len(words) > 1 and words[1] in command.commands:
                commands.append(command.commands[words[1]])
            for parameter in (parameter for one in commands for parameter in one.params):
                options |= {*parameter.opts, *parameter.secondary_opts}
        for word in words:
            if word.startswith("-"):
                assert word.strip("[]") in options | {"--help", "-h"}, f"{page.name}: {' '.join(words)}"


def test_the_readme_shows_every_command() -> None:
    shown = {words[1] for words in command_lines(ROOT / "README.md") if len(words) > 1}
    assert set(COMMANDS) <= shown


ARCHITECTURE = ROOT / "docs" / "architecture.md"


def site_module(name: str) -> ModuleType:
    """A module of docs/site, which is no package."""
    spec = spec_from_file_location(name, ROOT / "docs" / "site" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def rooms() -> list[str]:
    drawing = site_module("architecture")
    return [name for _, name, _ in drawing.rooms(ARCHITECTURE.read_text(encoding="utf-8"))]


def test_the_architecture_page_lists_the_rooms_in_the_order_of_the_floors() -> None:
    assert rooms() == list(FLOORS)


def test_every_room_is_described_and_exists() -> None:
    package = ROOT / "cellgennet_qupath"
    modules = {path.stem for path in package.glob("*.py")} - {"__init__"}
    folders = {path.parent.name for path in package.glob("*/__init__.py")}
    assert set(rooms()) == modules | folders


def test_the_picture_of_the_architecture_is_the_one_of_its_table() -> None:
    drawing = site_module("architecture")
    expected = drawing.svg(drawing.rooms(ARCHITECTURE.read_text(encoding="utf-8")))
    assert drawing.PICTURE.read_text(encoding="utf-8") == expected, "run python docs/site/architecture.py"


def test_every_file_that_the_architecture_page_names_exists() -> None:
    text = ARCHITECTURE.read_text(encoding="utf-8")
    named = re.findall(r"`((?:cellgennet_qupath|docs|groovy|tests)/[\w./]+|pyproject\.toml)`", text)
    assert len(named) > 20
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_the_homes_of_libraries_are_as_documented() -> None:
    section = ARCHITECTURE.read_text(encoding="utf-8").split("## Libraries")[1].split("\n## ")[0]
    documented = {
        library: set(re.findall(r"`([\w/]+)`", homes))
        for libraries, homes in re.findall(r"^\| ([\w, ]+) \| (`.+`) \|$", section, re.MULTILINE)
        for library in libraries.split(", ")
    }
    assert {library: HOMES[library] for library in documented} == documented
    assert {"torch", "tensorflow", "paquo", "matplotlib"} <= set(documented)


REFERENCE = ROOT / "docs" / "reference.md"


@pytest.mark.parametrize(
    "name", re.findall(r"^::: (\S+)", REFERENCE.read_text(encoding="utf-8"), re.MULTILINE)
)
def test_everything_in_the_reference_exists_and_has_a_docstring(name: str) -> None:
    module, _, attribute = name.rpartition(".")
    described = getattr(import_module(module), attribute, None) or import_module(name)
    assert described.__doc__


def test_the_site_links_within_itself_and_into_the_repository() -> None:
    pytest.importorskip("mkdocs")
    rewrite = site_module("hooks").rewrite
    text = "[a](docs/tutorial.md) [b](CHANGELOG.md#x) [c](LICENSE) [d](https://x.org) [e](#here)"
    assert rewrite(text, "README.md", "R") == (
        "[a](tutorial.md) [b](changelog.md#x) [c](R/blob/main/LICENSE) [d](https://x.org) [e](#here)"
    )
    text = "[a](../README.md#1-install) [b](method.md) [c](../benchmarks/peers.py)"
    assert rewrite(text, "docs/tutorial.md", "R") == (
        "[a](index.md#1-install) [b](method.md) [c](R/blob/main/benchmarks/peers.py)"
    )


def test_docstrings_become_lists_and_code() -> None:
    pytest.importorskip("griffe")
    markdown = site_module("docstrings").markdown
    text = "Do it.\n\nfirst  : one\n         more\na, b   : two\n\n>>> 1 + 1\n2"
    assert markdown(text) == "Do it.\n\n- `first`: one more\n- `a`, `b`: two\n\n```pycon\n>>> 1 + 1\n2\n```"
