"""Text cells that no reader of a table misunderstands: no formulas, no characters that break a file.

Names of images, classes and annotations come from other people's files. QuPath writes them as they are; here
only the few that a spreadsheet would run as a formula, or that no file format can hold, are changed.
"""

from __future__ import annotations

import re

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from ..core.wording import composed

REPLACEMENT = "\ufffd"
_UNWRITABLE = r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]"
_SURROGATE = r"[\ud800-\udfff]"
_FORMULA = r"^[=+\-@\t\n]"
_RETURN = r"\r\n?"
_ANY_UNWRITABLE = re.compile(f"{_UNWRITABLE}|{_SURROGATE}")


def writable(text: str) -> str:
    """A text in which control characters (except tabs and line ends) and lone surrogates are replaced."""
    return _ANY_UNWRITABLE.sub(REPLACEMENT, text)


def folded(name: str) -> str:
    """A name as file systems compare it that know neither case nor the form of accents."""
    return composed(name).casefold()


def text_cell(text: str) -> str:
    """A text as it is written into a csv or tsv file.

    An apostrophe is put before ``=``, ``+``, ``-``, ``@``, a tab or a line end at its beginning, so that
    spreadsheets show it as text and do not run it (CSV injection, OWASP). Carriage returns, which not every
    writer of tables quotes, become line feeds.
    """
    text = re.sub(_RETURN, "\n", writable(text))
    return f"'{text}" if re.match(_FORMULA, text) else text


def text_column(values: object) -> pa.Array:
    """Texts as an Arrow column, each as ``writable`` gives it; None stays missing."""
    try:
        column = pa.array(values, pa.string())
    except UnicodeEncodeError:
        column = pa.array([None if v is None else writable(v) for v in values], pa.string())  # type: ignore[attr-defined]
    return pc.replace_substring_regex(column, _UNWRITABLE, REPLACEMENT)


def text_cells(column: pa.Array) -> pa.Array:
    """A column of ``text_column`` as ``text_cell`` writes its values."""
    column = pc.replace_substring_regex(column, _RETURN, "\n")
    formula = pc.match_substring_regex(column, _FORMULA)
    if not pc.any(formula).as_py():
        return column
    return pc.if_else(formula, pc.binary_join_element_wise("'", column, ""), column)


def text_frame(table: pd.DataFrame) -> pd.DataFrame:
    """A table whose texts and column names are as ``text_cell`` writes them; numbers are unchanged."""
    cells = table.map(lambda value: text_cell(value) if isinstance(value, str) else value)
    return cells.rename(columns=lambda name: text_cell(str(name)))


_MONTH = r"(jan|feb|m[aä]r|apr|ma[iy]|jun|jul|aug|sep|o[ck]t|nov|de[cz])[\pL.]*"
_NUMBER_OR_DATE = (
    r"(?i)^\s*("
    r"[+-]?[\d.,]+\s*(e[+-]?\d+)?\s*%?"
    rf"|\d{{1,4}}[-/.: ]+(\d{{1,4}}|{_MONTH})([-/.: ]+\d{{1,4}})*"
    rf"|{_MONTH}[-/. ]*\d{{1,4}}([-/. ]+\d{{1,4}})?"
    r"|true|false|wahr|falsch|vrai|faux"
    r")\s*$"
)


def keep_text(table: pa.Table) -> pa.Table:
    """A table in which an apostrophe precedes the texts that a spreadsheet takes for numbers or dates."""
    for number, field in enumerate(table.schema):
        if pa.types.is_string(field.type):
            column = table[field.name].combine_chunks()
            taken = pc.match_substring_regex(column, _NUMBER_OR_DATE)
            if pc.any(taken).as_py():
                marked = pc.if_else(taken, pc.binary_join_element_wise("'", column, ""), column)
                table = table.set_column(number, field, marked)
    return table
