"""Slides are found wherever they or the project were moved to, and never the wrong one."""

from __future__ import annotations

import unicodedata
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Literal

import pytest

from cellgennet_qupath.qupath.formats.qpproj import RecordedImage, RecordedProject, read_project
from cellgennet_qupath.qupath.locate import SizeOf, find_slides, path_of_uri
from cellgennet_qupath.qupath.project import ImageEntry


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("file:/data/a.svs", PurePosixPath("/data/a.svs")),
        ("file:///data/a%20b%23c.svs", PurePosixPath("/data/a b#c.svs")),
        ("file://localhost/data/a.svs", PurePosixPath("/data/a.svs")),
        ("file:/Users/ann/%C3%A4.svs", PurePosixPath("/Users/ann/ä.svs")),
        ("file:/C:/slides/a.svs", PureWindowsPath("C:/slides/a.svs")),
        ("file:///C:/slides/a%20b.svs", PureWindowsPath("C:/slides/a b.svs")),
        ("file://server/share/a.svs", PureWindowsPath("//server/share/a.svs")),
        ("file:////server/share/a.svs", PureWindowsPath("//server/share/a.svs")),
        (r"C:\slides\a.svs", PureWindowsPath("C:/slides/a.svs")),
        ("/data/a.svs", PurePosixPath("/data/a.svs")),
        ("https://omero.org/image/3", None),
        ("omero:3", None),
        ("", None),
    ],
)
def test_recorded_addresses(uri: str, expected: PurePosixPath | PureWindowsPath | None) -> None:
    found = path_of_uri(uri)
    assert found == expected
    assert type(found) is type(expected)


def recorded(
    project: Path,
    uri: str = "file:/old/slides/a.svs",
    size: tuple[int, int] | None = (10, 20),
    project_uri: str = "file:/old/study/project/project.qpproj",
    series: int = 0,
) -> RecordedProject:
    entry = ImageEntry(id="1", name="a", uri=uri, slide=None, size=size, mpp=None, series=series)
    project.mkdir(parents=True, exist_ok=True)
    return RecordedProject(project, project_uri, "0.5.1", (RecordedImage(entry, size),))


def put(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"slide")
    return path


def find(
    project: RecordedProject, slides: Path | None = None, size_of: SizeOf | None = None
) -> tuple[Path | None, str]:
    found, reasons = find_slides(project, slides, size_of)
    assert (found[0] is None) == ("1" in reasons)
    return found[0], reasons.get("1", "")


def test_the_recorded_place_comes_first(tmp_path: Path) -> None:
    slide = put(tmp_path / "elsewhere" / "a.svs")
    put(tmp_path / "project" / "a.svs")
    assert find(recorded(tmp_path / "project", slide.as_uri()))[0] == slide


def test_project_and_slides_moved_together(tmp_path: Path) -> None:
    slide = put(tmp_path / "new" / "slides" / "a.svs")
    put(tmp_path / "new" / "study" / "other" / "a.svs")  # nearer, of the same name
    assert find(recorded(tmp_path / "new" / "study" / "project"))[0] == slide


def test_project_and_slides_moved_from_windows(tmp_path: Path) -> None:
    slide = put(tmp_path / "slides" / "a.svs")
    project = recorded(
        tmp_path / "project", "file:/D:/Lab/slides/a.svs", project_uri="file:/d:/LAB/project/project.qpproj"
    )
    assert find(project)[0] == slide


@pytest.mark.parametrize(
    "place", ["project/a.svs", "project/slides/deep/a.svs", "a.svs", "other/slides/a.svs", "A.SVS"]
)
def test_by_name_below_and_beside_the_project(tmp_path: Path, place: str) -> None:
    slide = put(tmp_path / place)
    assert find(recorded(tmp_path / "project"))[0] == slide


def test_not_in_qupaths_own_folders_nor_in_hidden_ones(tmp_path: Path) -> None:
    project = recorded(tmp_path / "project")
    put(tmp_path / "project" / "project.qpproj")
    for place in ("data/1/a.svs", "cellgennet/a.svs", ".trash/a.svs", "1/2/3/4/5/6/a.svs"):
        put(tmp_path / "project" / place)
    slide, reason = find(project)
    assert slide is None
    assert "no file named a.svs" in reason


def test_a_recorded_path_that_exists_wins_over_the_given_folder(tmp_path: Path) -> None:
    here = put(tmp_path / "elsewhere" / "a.svs")
    given = put(tmp_path / "given" / "very" / "very" / "very" / "very" / "deep" / "a.svs")
    there = recorded(tmp_path / "project", here.as_uri())
    assert find(there, slides=tmp_path / "given")[0] == here
    assert find(there, slides=tmp_path / "given", size_of={here: (10, 20), given: (10, 20)}.get)[0] == here


def test_the_given_folder_replaces_a_recorded_file_of_another_size(tmp_path: Path) -> None:
    here = put(tmp_path / "elsewhere" / "a.svs")
    given = put(tmp_path / "given" / "a.svs")
    there = recorded(tmp_path / "project", here.as_uri())
    assert find(there, slides=tmp_path / "given", size_of={here: (9, 9), given: (10, 20)}.get)[0] == given
    # With nothing better the recorded file is opened, which names both sizes.
    assert find(there, slides=tmp_path / "given", size_of={here: (9, 9), given: (8, 8)}.get)[0] == here


def test_the_given_folder_comes_before_the_neighbourhood(tmp_path: Path) -> None:
    given = put(tmp_path / "far" / "given" / "very" / "very" / "very" / "very" / "deep" / "a.svs")
    put(tmp_path / "project" / "a.svs")
    assert find(recorded(tmp_path / "project"), slides=tmp_path / "far" / "given")[0] == given


def patients(
    project: Path, *uris: str, project_uri: str = "file:/D:/study/p/project.qpproj"
) -> RecordedProject:
    """Images named A, B and so on, recorded at these addresses."""
    project.mkdir(parents=True, exist_ok=True)
    images = tuple(
        RecordedImage(
            ImageEntry(id=str(k + 1), name="ABCDE"[k], uri=uri, slide=None, size=(10, 20), mpp=None), (10, 20)
        )
        for k, uri in enumerate(uris)
    )
    return RecordedProject(project, project_uri, "0.5.1", images)


A, B = "file:/D:/scans/patientA/Image_01.tif", "file:/D:/scans/patientB/Image_01.tif"


def test_a_slide_never_stands_in_for_a_missing_one_of_its_name(tmp_path: Path) -> None:
    only = put(tmp_path / "slides" / "patientA" / "Image_01.tif")
    found, reasons = find_slides(patients(tmp_path / "project", A, B))
    assert found == [only, None]
    assert "belongs to the image A" in reasons["2"]
    assert f"recorded at {B} was not found" in reasons["2"]


def test_one_file_for_two_images_that_fit_equally_is_for_neither(tmp_path: Path) -> None:
    put(tmp_path / "slides" / "Image_01.tif")
    found, reasons = find_slides(patients(tmp_path / "project", A, B))
    assert found == [None, None]
    assert all("fits several images (A, B)" in reasons[i] for i in "12")


def test_a_file_at_its_recorded_path_is_not_taken_by_name(tmp_path: Path) -> None:
    here = put(tmp_path / "here" / "Image_01.tif")
    gone = (tmp_path / "gone" / "Image_01.tif").as_uri()
    project = patients(tmp_path / "project", gone, here.as_uri(), project_uri="")
    found, reasons = find_slides(project, slides=tmp_path)
    assert found == [None, here]
    assert "belongs to the image B" in reasons["1"]


def test_folders_of_patients_tell_slides_of_one_name_apart(tmp_path: Path) -> None:
    a, b = (put(tmp_path / "slides" / f"patient{k}" / "Image_01.tif") for k in "AB")
    put(tmp_path / "slides" / "patientC" / "Image_01.tif")
    project = patients(tmp_path / "project", A, B)
    assert find_slides(project)[0] == [a, b]
    assert find_slides(project, slides=tmp_path / "slides")[0] == [a, b]


def test_two_images_of_one_recorded_file_share_it(tmp_path: Path) -> None:
    only = put(tmp_path / "slides" / "Image_01.tif")
    assert find_slides(patients(tmp_path / "project", A, A))[0] == [only, only]


def test_of_several_the_one_of_the_recorded_size(tmp_path: Path) -> None:
    wrong, right = put(tmp_path / "project" / "1" / "a.svs"), put(tmp_path / "project" / "2" / "a.svs")
    project = recorded(tmp_path / "project")
    slide, reason = find(project)
    assert slide is None
    assert "2 files named a.svs" in reason
    sizes = {wrong: (10, 21), right: (10, 20)}
    assert find(project, size_of=sizes.get)[0] == right
    slide, reason = find(project, size_of=lambda path: (10, 20))
    assert slide is None
    assert "2 files named a.svs" in reason


def test_a_file_of_another_size_is_another_slide(tmp_path: Path) -> None:
    put(tmp_path / "project" / "a.svs")
    project = recorded(tmp_path / "project")
    slide, reason = find(project, size_of=lambda path: (99, 99))
    assert slide is None
    assert "does not have the recorded size 10 x 20" in reason
    assert find(project, size_of=lambda path: None)[0] is not None
    of_a_series = recorded(tmp_path / "project", series=2)  # a file's size is that of its first image
    assert find(of_a_series, size_of=lambda path: (99, 99))[0] is not None


def test_the_nearer_of_two(tmp_path: Path) -> None:
    near = put(tmp_path / "project" / "a.svs")
    put(tmp_path / "a.svs")
    assert find(recorded(tmp_path / "project"))[0] == near


def test_exact_names_before_names_in_another_case(tmp_path: Path) -> None:
    put(tmp_path / "project" / "1" / "A.svs")
    exact = put(tmp_path / "project" / "2" / "a.svs")
    assert find(recorded(tmp_path / "project"))[0] == exact


@pytest.mark.parametrize(("then", "now"), [("NFC", "NFD"), ("NFD", "NFC"), ("NFD", "NFD")])
def test_accents_of_another_system(
    tmp_path: Path, then: Literal["NFC", "NFD"], now: Literal["NFC", "NFD"]
) -> None:
    uri = PurePosixPath("/old/slides", unicodedata.normalize(then, "Müller Ä.svs")).as_uri()
    slide = put(tmp_path / "slides" / unicodedata.normalize(now, "Müller Ä.svs"))
    put(tmp_path / "slides" / "Muller A.svs")
    assert find(recorded(tmp_path / "project", uri))[0] == slide


def test_images_that_are_folders(tmp_path: Path) -> None:
    slide = tmp_path / "project" / "a.zarr"
    slide.mkdir(parents=True)
    assert find(recorded(tmp_path / "project", "file:/old/a.zarr"))[0] == slide


@pytest.mark.parametrize(
    ("uri", "reason"),
    [
        ("https://omero.org/iviewer/?images=3", "images=3, which is not a file"),
        ("", "no file is recorded"),
    ],
)
def test_only_files_are_searched_for(tmp_path: Path, uri: str, reason: str) -> None:
    slide, given = find(recorded(tmp_path / "project", uri))
    assert slide is None
    assert reason in given


def test_links_that_run_in_circles_end(tmp_path: Path) -> None:
    project = recorded(tmp_path / "project")
    try:
        (tmp_path / "project" / "loop").symlink_to(tmp_path, target_is_directory=True)
    except OSError as error:
        pytest.skip(f"this system makes no links ({error})")
    assert find(project, slides=tmp_path)[0] is None


@pytest.mark.parametrize("version", ["0.5", "0.7"])
def test_all_slides_of_real_projects(shared: Path, version: str) -> None:
    found, reasons = find_slides(read_project(shared / "qupath" / f"project_v{version}"))
    assert reasons == {}
    assert {slide.parent for slide in found if slide} == {shared.resolve() / "qupath" / "slides"}
    assert len(set(found)) == 9
