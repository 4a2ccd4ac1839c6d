"""Workbooks, read with another library and opened in a spreadsheet of two languages."""

from __future__ import annotations

import csv
import io
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cellgennet_qupath.bundle import INTENDED_USE
from cellgennet_qupath.core.errors import ExportError
from cellgennet_qupath.tables import xlsx

from .projects import CALIBRATED, TWO, Images, entry, export, nuclei

openpyxl = pytest.importorskip("openpyxl")


def many(n: int = 40) -> Images:
    detected = nuclei(*((x, 0, x + 3.37 + x / 7, 4.21) for x in range(n)))
    values = np.linspace(0.0001, 12345.6789, n)
    return ((entry(1, "1-2"), detected.with_measurements(pd.DataFrame({"Hematoxylin: Mean": values}))),)


def test_numbers_are_numbers_and_texts_are_texts(tmp_path: Path) -> None:
    images = [(entry(1, "=1+1"), nuclei((0, 0, 40, 20))), (entry(2, "1E5"), nuclei((0, 0, 9, 9)))]
    book = openpyxl.load_workbook(export(tmp_path, "t.xlsx", images))
    sheet = book.active
    assert sheet.freeze_panes == "A2"
    header, *rows = sheet.iter_rows(values_only=True)
    table = pd.DataFrame(rows, columns=header)
    assert table["Image"].tolist() == ["=1+1", "1E5"]
    assert [cell.data_type for cell in sheet["A"]] == ["s"] * 3, "no formula"
    assert table["Area µm^2"].tolist() == [50, 5.0625]


def test_the_table_is_that_of_csv(tmp_path: Path) -> None:
    book = pd.read_excel(export(tmp_path, "t.xlsx", TWO), engine="openpyxl")
    pd.testing.assert_frame_equal(book, pd.read_csv(export(tmp_path, "t.csv", TWO)), check_dtype=False)


def test_a_second_sheet_says_what_made_it(tmp_path: Path) -> None:
    for name, more in (("t.xlsx", {}), ("s.xlsx", {"summary": True})):
        about = pd.read_excel(
            export(tmp_path, name, CALIBRATED, **more), sheet_name="About", header=None, engine="openpyxl"
        )
        facts = dict(zip(about[0], about[1], strict=True))
        assert facts["intended use"] == INTENDED_USE
        assert {"version", "model", "learnt from", "unit"} <= set(facts)


def test_a_summary(tmp_path: Path) -> None:
    table = pd.read_excel(export(tmp_path, "s.xlsx", CALIBRATED, summary=True), engine="openpyxl")
    assert table["Num Detections"].tolist()[::2] == [2, 1]


def test_more_rows_than_a_sheet_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(xlsx, "MOST_ROWS", 2)
    with pytest.raises(
        ExportError, match=r"a sheet holds 2 rows, and there are 3 nuclei.*\{image\}.*parquet"
    ):
        export(tmp_path, "t.xlsx", CALIBRATED)
    assert not list(tmp_path.glob("*.xlsx"))
    assert export(tmp_path, "u.xlsx", CALIBRATED[:1]).is_file()


@pytest.mark.slow
@pytest.mark.parametrize("language", ["en-US", "de-DE"])
def test_a_spreadsheet_of_any_language_adds_the_same_numbers(tmp_path: Path, language: str) -> None:
    office = shutil.which("soffice") or shutil.which("libreoffice")
    if office is None:
        pytest.skip("LibreOffice is not installed, so no workbook was opened in it")
    file = export(tmp_path, "t.xlsx", many())
    profile = tmp_path / "profile" / "user"
    profile.mkdir(parents=True)
    setting = (
        '<item oor:path="/org.openoffice.Setup/L10N"><prop oor:name="ooSetupSystemLocale" oor:op="fuse">'
        f"<value>{language}</value></prop></item>"
    )
    (profile / "registrymodifications.xcu").write_text(
        '<?xml version="1.0" encoding="UTF-8"?><oor:items xmlns:oor="http://openoffice.org/2001/registry">'
        f"{setting}</oor:items>",
        encoding="utf-8",
    )
    subprocess.run(
        [
            office,
            f"-env:UserInstallation={profile.parent.as_uri()}",
            "--headless",
            "--convert-to",
            # Separated by ";", UTF-8, cells as they are shown: decimal commas in German.
            "csv:Text - txt - csv (StarCalc):59,34,76,1,,0,false,true,false",
            "--outdir",
            str(tmp_path / language),
            str(file),
        ],
        check=True,
        capture_output=True,
        timeout=300,
    )
    text = (tmp_path / language / "t.csv").read_text(encoding="utf-8")
    rows = list(csv.DictReader(io.StringIO(text), delimiter=";"))
    ours = pd.read_csv(export(tmp_path, "t.csv", many()))
    assert [row["Image"] for row in rows] == ["1-2"] * len(ours), "a date in a csv"
    shown = [row["Hematoxylin: Mean"] for row in rows]
    assert any("," in value for value in shown) == (language == "de-DE")
    for name in ("Hematoxylin: Mean", "Area µm^2", "Centroid X µm"):
        values = [float(row[name].replace(",", ".")) for row in rows]
        assert sum(values) == pytest.approx(ours[name].sum(), abs=1e-6)
