"""Guards before outside libraries, tried with harmless input: the library must not be asked at all."""

from __future__ import annotations

import pyarrow.json
import pytest

from cellgennet_qupath.qupath.formats.featurelines import parse_lines


@pytest.mark.parametrize("line", ["true", "1", '["a"]', " {}", ""])
def test_arrow_never_gets_a_line_that_is_not_an_object(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def asked(*_: object, **__: object) -> None:
        raise AssertionError("Arrow was asked")

    monkeypatch.setattr(pyarrow.json, "read_json", asked)
    with pytest.raises(ValueError, match="not a feature"):
        parse_lines(['{"id": "a"}', line], [])
