"""YAML from other people's files: plain values only, of bounded size, before anything is built from them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from .plain_files import read_text

MOST_BYTES = 256 * 1024
"""A card takes a few kilobytes, a file of settings less than one."""
_MOST_NODES = 50_000
_MOST_ALIASES = 100
_DEEPEST = 40
_NOT_YAML = "is not valid YAML"

_OTHER_NUMBER = re.compile(r"[-+]?(0[0-7_]+|[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?)")
"""Numbers that YAML 1.1 reads in base 8 (``010`` is 8) or 60 (``1:30`` is 90)."""

_LOADER: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class YamlError(ValueError):
    """A text that is not YAML, or not plain values of bounded size; the message says why."""

    @property
    def is_syntax(self) -> bool:
        """Whether the text is not YAML at all."""
        return self.args == (_NOT_YAML,)


def read_yaml(path: Path) -> Any:
    """The plain values of a YAML file.

    Raises YamlError, and NotPlainError and OSError of the file itself.
    """
    try:
        return parse_yaml(read_text(path, MOST_BYTES))
    except UnicodeDecodeError as error:
        raise YamlError("is not text in UTF-8") from error


def parse_yaml(text: str) -> Any:
    """The plain values of a YAML text. Raises YamlError.

    Few aliases (``*name``) are allowed, as some editors and ``yaml.dump`` write them; what they unfold to
    counts like text written out.
    """
    try:
        _check_events(text)
        node = yaml.compose(text, Loader=_LOADER)
        if node is None:
            return None
        if _size(node, {}) > _MOST_NODES:
            raise YamlError("unfolds to too many values")
        return _LOADER("").construct_document(node)
    except YamlError:
        raise
    except (yaml.YAMLError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError) as error:
        # Beside its own errors the library raises these for tagged or impossible values (month 13).
        raise YamlError(_NOT_YAML) from error
    except RecursionError as error:
        raise YamlError("is nested too deeply") from error


def _check_events(text: str) -> None:
    """Bound depth, values and aliases while the text is read as a stream, before anything is built."""
    depth = nodes = aliases = 0
    for event in yaml.parse(text, Loader=_LOADER):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        elif isinstance(event, yaml.AliasEvent):
            aliases += 1
        nodes += isinstance(event, yaml.NodeEvent)
        if depth > _DEEPEST:
            raise YamlError("is nested too deeply")
        if aliases > _MOST_ALIASES:
            raise YamlError(f"has more than {_MOST_ALIASES} aliases (`*name`)")
        if nodes > _MOST_NODES:
            raise YamlError("has too many values")


def _check_names(node: yaml.MappingNode) -> None:
    """The library takes the last of several values of one name, and says nothing."""
    names: set[str] = set()
    for key, _ in node.value:
        if isinstance(key, yaml.ScalarNode) and key.value != "<<":
            if key.value in names:
                raise YamlError(f"gives `{key.value:.40}` twice")
            names.add(key.value)


def _check_number(node: yaml.ScalarNode) -> None:
    """Few know in which base the library reads some numbers, and it says nothing."""
    numbers = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
    if node.tag in numbers and _OTHER_NUMBER.fullmatch(node.value):
        raise YamlError(
            f"has `{node.value:.40}`, which YAML does not read as it looks: leave out zeros before a number, "
            "and put texts in quotation marks"
        )


def _size(node: yaml.Node, known: dict[int, int]) -> int:
    """How many values a node unfolds to. A node that contains itself has no size and is refused."""
    if id(node) in known:
        size = known[id(node)]
        if size < 0:
            raise YamlError("contains itself")
        return size
    known[id(node)] = -1
    children: list[yaml.Node] = []
    if isinstance(node, yaml.SequenceNode):
        children = list(node.value)
    elif isinstance(node, yaml.ScalarNode):
        _check_number(node)
    elif isinstance(node, yaml.MappingNode):
        _check_names(node)
        children = [part for pair in node.value for part in pair]
    size = 1 + sum(_size(child, known) for child in children)
    known[id(node)] = size
    return size
