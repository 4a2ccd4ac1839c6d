"""Optional packages: what is missing is named with the line that installs it."""

from __future__ import annotations

import sys

import pytest

from cellgennet_qupath.core.errors import MissingExtraError
from cellgennet_qupath.core.extras import EXTRAS, missing, require


def test_an_installed_extra_passes() -> None:
    assert missing("train") == ()
    require("train", "train")


@pytest.mark.parametrize("extra", EXTRAS)
def test_a_missing_package_is_named_with_the_line_that_installs_it(
    extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = EXTRAS[extra][-1]
    monkeypatch.setitem(sys.modules, module, None)
    assert module in missing(extra)
    with pytest.raises(MissingExtraError) as raised:
        require(extra, "this")
    assert str(raised.value).startswith("this: needs packages that are not installed (")
    assert module in str(raised.value)
    assert f'pip install "cellgennet-qupath[{extra}]"' in str(raised.value)
    assert raised.value.exit_code == 1
