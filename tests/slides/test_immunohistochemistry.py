"""What an H-DAB image does to a model of H&E: scikit-image's picture of immunohistochemistry, segmented."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import cellgennet_qupath as cgn
from tests.helpers import Recorder
from tests.projects import drawn_slide, save_slide, write_project

WORDS = "has colours unlike H&E: 27% of its tissue is brown, as of DAB (immunohistochemistry)"


@pytest.mark.slow
def test_an_h_dab_image_is_named_and_its_page_says_that_it_needs_a_look(tmp_path: Path) -> None:
    data = pytest.importorskip("skimage.data")
    slides = [
        save_slide(tmp_path / "ihc.png", data.immunohistochemistry()),
        drawn_slide(tmp_path / "he.png", width=512, height=512),
    ]
    project = write_project(tmp_path / "p", slides, mpp=0.5)
    listener = Recorder()
    with cgn.open_project(project, backend="files", reporter=listener) as opened:
        run = cgn.segment(opened, reporter=listener)
        found = opened.detections(opened.entries[0])
    assert [image.status for image in run.images] == ["done", "done"]
    said = [line for line in listener.warnings if WORDS in line]
    assert said == [f"ihc.png: {WORDS}: a model of H&E may miss nuclei here. Check the results."]
    assert not [line for line in listener.warnings if line.startswith("he.png")]
    assert run.page is not None
    text = run.page.read_text(encoding="utf-8")
    [card] = re.findall(r'<li class="slide" id="slide-0">(.*?)</li>', text, re.S)
    assert "needs a look" in card
    assert "27% of its tissue is brown" in card
    [other] = re.findall(r'<li class="slide" id="slide-1">(.*?)</li>', text, re.S)
    assert "needs a look" not in other
    # Of the sample project's slides of H&E the mean is 0.67 to 0.69.
    assert 30 < len(found) < 200
    assert found.probability.mean() < 0.6
