"""The pages in a real browser: no errors, self-contained, usable, accessible, safe with hostile names."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely

from cellgennet_qupath.bundle import Bundle
from cellgennet_qupath.evaluation.regions import folder_regions
from cellgennet_qupath.evaluation.run import Evaluation, evaluate
from cellgennet_qupath.geometry.rectangle import Rectangle
from cellgennet_qupath.nuclei import Nuclei
from cellgennet_qupath.qupath.project import (
    Annotation,
    Core,
    DetectionChunk,
    ImageEntry,
    Suggestion,
    WrittenDetections,
    WrittenSuggestions,
)
from cellgennet_qupath.report.evaluation_files import REPORT
from cellgennet_qupath.report.evaluation_page import write_report
from cellgennet_qupath.report.segmentation_page import write_run_page
from cellgennet_qupath.report.suggestion_page import write_suggestion_page
from cellgennet_qupath.report.training_page import write_training_page
from cellgennet_qupath.segmentation.result import ImageResult
from cellgennet_qupath.suggestion.run import Looked, SuggestedWindow, SuggestResult
from tests.drawn_tissue import Shaky
from tests.report.test_training_page import record

HOSTILE = "<script>alert(1)</script>"
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="no playwright package")
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("no Chromium on this computer")
    with playwright.sync_playwright() as running:
        opened = running.chromium.launch(executable_path=program, args=list(FLAGS))
        yield opened
        opened.close()


@dataclass
class Visit:
    """A page and what it did: console messages, errors, dialogs, and the addresses it requested."""

    page: Any
    trouble: list[str] = field(default_factory=list)
    addresses: list[str] = field(default_factory=list)

    def quiet(self) -> None:
        assert self.trouble == []
        assert [a for a in self.addresses if not a.startswith("data:")] == [self.page.url.split("#")[0]]

    def faults(self) -> list[str]:
        """What axe-core finds in light and in dark, and what overflows a phone, with all details unfolded."""
        axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="no axe-core package")
        self.page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
        found = []
        for scheme in ("light", "dark"):
            self.page.emulate_media(color_scheme=scheme)
            result = axe.Axe().run(self.page).response
            assert len(result["passes"]) > 10, "axe-core has run its checks"
            found += [f"{scheme}: {v['id']}: {v['nodes'][0]['html']}" for v in result["violations"]]
        backgrounds = set()
        for scheme in ("light", "dark"):
            self.page.emulate_media(color_scheme=scheme)
            backgrounds.add(self.page.evaluate("getComputedStyle(document.body).backgroundColor"))
        assert len(backgrounds) == 2, "dark mode has colours of its own"
        for width in (1440, 1024, 390):
            self.page.set_viewport_size({"width": width, "height": 900})
            if self.page.evaluate("document.documentElement.scrollWidth") > width:
                found.append(f"wider than {width} px")
        return found


@pytest.fixture
def visit(browser: Any) -> Iterator[Callable[..., Visit]]:
    pages = []

    def open_page(file: Path, width: int = 1280, height: int = 720, scheme: str = "light") -> Visit:
        page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
        pages.append(page)
        seen = Visit(page)
        page.on("console", lambda message: seen.trouble.append(message.text))
        page.on("pageerror", lambda error: seen.trouble.append(str(error)))

        def refuse(dialog: Any) -> None:
            seen.trouble.append(f"dialog: {dialog.message}")
            dialog.dismiss()

        page.on("dialog", refuse)
        page.on("request", lambda request: seen.addresses.append(request.url))
        page.goto(file.as_uri())
        return seen

    yield open_page
    for page in pages:
        page.close()


@pytest.fixture(scope="module")
def report(evaluation: Evaluation, untrained: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report") / "bericht ö"
    write_report(folder, evaluation, "discs", [untrained], ["A note."])
    return folder / REPORT


@pytest.mark.parametrize(("width", "height"), [(1600, 1000), (1280, 720), (420, 800)])
def test_the_report_has_no_errors_and_fits(
    report: Path, visit: Callable[..., Visit], width: int, height: int
) -> None:
    seen = visit(report, width, height)
    seen.quiet()
    assert seen.page.evaluate("document.documentElement.scrollWidth") <= width, "nothing overflows"
    broken = "Array.from(document.images).filter(i => !i.naturalWidth).length"
    assert seen.page.evaluate(broken) == 0
    first = seen.page.locator("h1").bounding_box()
    assert first["y"] < 150, "the verdict comes first"


def test_the_gallery_switches(report: Path, visit: Callable[..., Visit]) -> None:
    seen = visit(report)

    def shown(selector: str) -> int:
        return int(seen.page.locator(f"{selector}:visible").count())

    pictures = seen.page.locator(".gallery svg").count()
    assert pictures == 6
    assert shown(".truth") == shown(".predicted") == pictures
    seen.page.get_by_label("Expert", exact=True).check()
    assert (shown(".truth"), shown(".predicted")) == (pictures, 0)
    seen.page.get_by_label("Prediction", exact=True).check()
    assert (shown(".truth"), shown(".predicted")) == (0, pictures)
    seen.page.get_by_label("Tissue only").check()
    assert (shown(".truth"), shown(".predicted")) == (0, 0)
    seen.page.get_by_label("Both").check()
    before = seen.page.locator(".gallery figcaption").first.inner_text()
    seen.page.get_by_label("Prediction of").select_option("theirs")
    assert seen.page.locator(".gallery figcaption").first.inner_text() != before
    assert shown("g[data-method='1']") == pictures
    assert shown("g[data-method='0']") == 0
    seen.quiet()


def test_the_report_is_accessible(report: Path, visit: Callable[..., Visit]) -> None:
    assert visit(report).faults() == []


def test_the_training_page_is_accessible(tmp_path: Path, visit: Callable[..., Visit]) -> None:
    hostile = replace(record(verdict=(HOSTILE, "Recommended: the new model.")), name=HOSTILE, notes=[HOSTILE])
    seen = visit(write_training_page(hostile, tmp_path / "training.html"), 390, 800)
    assert seen.page.locator(".legend li").count() == 4
    seen.page.get_by_label("Tissue only").check()
    assert seen.page.locator(".layer:visible").count() == 0
    seen.quiet()
    assert seen.faults() == []


def test_hostile_names_have_no_effect(
    tmp_path: Path,
    untrained: Bundle,
    labelled_folder: Callable[[Path, int], Path],
    shaky: Callable[..., Shaky],
    visit: Callable[..., Visit],
) -> None:
    regions = [
        replace(f, name=f"{HOSTILE}\"'><img src=x onerror=alert(2)> {i}", image=HOSTILE, group=HOSTILE)
        for i, f in enumerate(folder_regions(labelled_folder(tmp_path / "d", 3)))
    ]
    result = evaluate(regions, [shaky(HOSTILE), shaky("</title></style>" + HOSTILE)])
    card = untrained.card.model_copy(update={"name": HOSTILE, "licence": HOSTILE, "attribution": HOSTILE})
    write_report(tmp_path / "r", result, HOSTILE, [replace(untrained, card=card)], [HOSTILE])
    seen = visit(tmp_path / "r" / REPORT)
    seen.quiet()
    assert HOSTILE in seen.page.locator("h1").inner_text(), "it is displayed as text"
    assert seen.page.locator("script").count() == 1
    # Even an injected script would not run: the content security policy allows only one.
    seen.page.evaluate(
        "const s = document.createElement('script');s.textContent = 'window.ran = 1'; document.body.append(s)"
    )
    assert seen.page.evaluate("window.ran") is None


@dataclass
class Slides:
    """The part of a project that the run page needs."""

    path: Path
    entries: list[ImageEntry]

    @property
    def work_folder(self) -> Path:
        return self.path / "cellgennet"

    def detection_chunks(self, entry: ImageEntry) -> Iterator[DetectionChunk]:
        rng = np.random.default_rng(0)
        discs = [shapely.Point(x, y).buffer(4) for x, y in rng.uniform(5, 150, (40, 2))]
        nothing = np.full(40, "", dtype=object)
        yield DetectionChunk(Nuclei.from_polygons(discs, np.linspace(0.3, 1, 40)), nothing, nothing, nothing)

    def annotations(self, entry: ImageEntry) -> list[Annotation]:
        return []

    def cores(self, entry: ImageEntry) -> list[Core]:
        return []


def test_the_page_after_a_segmentation(
    tmp_path: Path,
    untrained: Bundle,
    labelled_folder: Callable[[Path, int], Path],
    visit: Callable[..., Visit],
) -> None:
    folder = labelled_folder(tmp_path / "d", 2)
    slides = [folder / "images" / f"field {i}.png" for i in range(2)]
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    entries = [
        ImageEntry(str(i), HOSTILE, slide.as_uri(), slide, (160, 160), (0.5, 0.5))
        for i, slide in enumerate([*slides, broken])
    ]
    entries.append(ImageEntry("3", "gone", "file:///gone.svs", None, None, None))
    written = WrittenDetections(40, tmp_path / "x.geojson.gz", "Drag it onto QuPath")
    results = [
        ImageResult("0", HOSTILE, "done", 40, "", 75.0, written),
        ImageResult("1", HOSTILE, "skipped", 0, f"no annotation of class {HOSTILE}"),
        ImageResult("2", HOSTILE, "failed", 0, "broken.png: is no picture", 1.0),
        ImageResult("3", "gone", "failed", 0, "its slide was not found"),
    ]
    page = write_run_page(
        Slides(tmp_path, entries),  # type: ignore[arg-type]
        results,
        untrained,
        warnings=[f"{HOSTILE}: its pixels are coarse"],
    )
    assert page == tmp_path / "cellgennet" / "report" / "segment.html"
    seen = visit(page)
    text = seen.page.inner_text("body")
    assert "40 nuclei on 1 of 4 images; 2 failed" in text
    assert "4 slides need a look" in text
    assert "Correct what is named under the slides that failed" in text
    assert "1 min 15 s" in text
    assert "its pixels are coarse" in text
    assert "per mm²" in text
    assert "Cannot be shown: " in text
    assert seen.page.locator(".slide .shot img").count() == 3, "two slides and one density map"
    assert seen.page.locator(".slide svg").count() == 1, "a slide this small has one window"
    assert "40 nuclei, mean probability 0.65" in text
    assert seen.page.locator(".scale").all_inner_texts() == ["20 µm"] * 4
    assert seen.page.locator(".layer:visible").count() == 1
    seen.page.get_by_label("Hide").check()
    assert seen.page.locator(".layer:visible").count() == 0
    seen.quiet()
    assert seen.faults() == []


def test_the_page_of_suggestions(
    tmp_path: Path,
    untrained: Bundle,
    labelled_folder: Callable[[Path, int], Path],
    visit: Callable[..., Visit],
) -> None:
    slide = labelled_folder(tmp_path / "d", 1) / "images" / "field 0.png"
    good = ImageEntry("0", HOSTILE, slide.as_uri(), slide, (160, 160), (0.5, 0.5))
    gone = ImageEntry("1", "gone", "file:///gone.svs", None, None, None)
    windows = [
        SuggestedWindow(1, good, Suggestion(Rectangle(0, 0, 64, 64), f"Suggestion 1: {HOSTILE}."), 9, 4, 0.5),
        SuggestedWindow(2, gone, Suggestion(Rectangle(8, 8, 72, 72), "Suggestion 2: new."), 0, 0, None),
    ]
    written = WrittenSuggestions(tmp_path / "0.geojson", "Drag it onto QuPath")
    images = [Looked(good, 1, 0.5, written), Looked(gone, 1, 0.0, None, f"{HOSTILE}: is no picture")]
    page = write_suggestion_page(
        Slides(tmp_path, [good, gone]),  # type: ignore[arg-type]
        SuggestResult(windows, images, "files"),
        untrained,
        warnings=[f"{HOSTILE}: its pixels are coarse"],
    )
    assert page == tmp_path / "cellgennet" / "report" / "suggest.html"
    seen = visit(page, 420, 800)
    text = seen.page.inner_text("body")
    assert "2 windows worth annotating next" in text
    assert "32 × 32 µm" in text
    assert "Cannot be shown: " in text
    assert "Drag it onto QuPath" in text
    assert seen.page.locator("main svg image").count() == 2
    assert seen.page.evaluate("document.documentElement.scrollWidth") <= 420, "nothing overflows"
    seen.quiet()
    assert seen.faults() == []
