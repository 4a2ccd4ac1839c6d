"""Project files, those of real QuPath and odd ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cellgennet_qupath.core.errors import ProjectError, SlideError
from cellgennet_qupath.qupath.formats.qpproj import class_colors, read_project
from cellgennet_qupath.qupath.images import open_image
from cellgennet_qupath.slides.view import AS_STORED, FLIPS, QUARTER_TURNS, View


def written(folder: Path, *images: Any, **more: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    content = {"version": "0.5.1", "images": list(images), **more}
    (folder / "project.qpproj").write_text(json.dumps(content), encoding="utf-8")
    return folder


def image(number: object = 1, **builder: Any) -> dict[str, Any]:
    whole = {"builderType": "uri", "uri": "file:/s/a.svs", **builder}
    return {"entryID": number, "imageName": "a", "serverBuilder": whole}


@pytest.mark.parametrize("version", ["0.5", "0.7"])
def test_real_projects(shared: Path, version: str) -> None:
    project = read_project(shared / "qupath" / f"project_v{version}")
    assert project.version.startswith(version)
    assert [found.entry.id for found in project.images] == [str(n) for n in range(1, 10)]
    first, last = project.images[0].entry, project.images[-1].entry
    assert first.name == "human_liver.ome.tif - human_liver"
    assert (first.size, first.mpp, first.series) == ((1024, 1024), (0.25, 0.25), 0)
    assert (last.size, last.mpp) == ((2220, 2967), (0.499, 0.499))
    assert all(found.entry.opened and not found.entry.altered for found in project.images)
    colors = class_colors(project.folder)
    assert colors["Training"] == (255, 200, 0)


def test_what_is_recorded_of_an_image(project: Path) -> None:
    one, two = (found.entry for found in read_project(project).images)
    assert one.uri == "file:/home/ann/study/slides/one%20slide.tif"
    assert (one.size, one.mpp, one.size_z, one.size_t) == ((200, 100), (0.5, 0.25), 3, 2)
    assert one.opened
    assert (two.size, two.mpp, two.opened) == ((64, 48), None, False)


def test_the_folder_and_the_file_name_the_same_project(project: Path) -> None:
    assert read_project(project) == read_project(project / "project.qpproj")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("nowhere", None, "does not exist"),
        ("empty/", None, r"holds no project\.qpproj"),
        ("slide.svs", "", "is not a QuPath project"),
        ("old.qpproj", "{}", r"not named project\.qpproj"),
        ("project.qpproj", "{ no json", "not valid JSON"),
        ("project.qpproj", "[" * 100_000, "not valid JSON"),
        ("project.qpproj", "[]", "is not a QuPath project"),
        ("project.qpproj", "{}", "is not a QuPath project"),
        ("project.qpproj", '{"images": [3]}', "unknown way"),
        ("project.qpproj", '{"images": [{"path": "/a.svs"}]}', r"older than 0\.2"),
        ("project.qpproj", '{"images": [{"entryID": "../../x"}]}', "impossible id"),
        ("project.qpproj", '{"images": [{"entryID": 1}, {"entryID": "1"}]}', "two images"),
    ],
)
def test_anything_but_a_project_is_refused_in_one_line(
    tmp_path: Path, name: str, content: str | None, message: str
) -> None:
    path = tmp_path / name
    if name.endswith("/"):
        path.mkdir()
    elif content is not None:
        path.write_text(content, encoding="utf-8")
    with pytest.raises(ProjectError, match=message) as raised:
        read_project(path)
    assert "\n" not in str(raised.value)


def test_rotated_and_cropped_servers_are_looked_through(tmp_path: Path) -> None:
    inner = {"builderType": "uri", "uri": "file:/s/a.svs", "args": ["--name", "x", "--series=3"],
             "metadata": {"width": 40, "height": 30}}  # fmt: skip
    rotated = {"builderType": "rotated", "rotation": "ROTATE_90", "builder": inner}
    cropped = {"builderType": "cropped", "builder": rotated, "metadata": {"width": 10, "height": 20}}
    unturned = {"builderType": "rotated", "rotation": "ROTATE_NONE", "builder": inner}
    pyramid = {"builderType": "pyramidize", "builder": inner}
    project = read_project(
        written(
            tmp_path,
            image(1, **cropped),
            image(2, **rotated),
            image(3, **unturned),
            image(4, **pyramid),
            image(5, builderType="affine", builder=inner),
        )
    )
    first = project.images[0]
    assert first.entry.uri == "file:/s/a.svs"
    assert first.entry.series == 3
    assert first.entry.size == (10, 20)
    assert first.file_size == (40, 30)
    altered = [found.entry.altered for found in project.images]
    assert altered == ["cropped", "", "", "", "with an affine transform"]
    turned, unturned_view = QUARTER_TURNS["ROTATE_90"], AS_STORED
    views = [found.entry.view for found in project.images]
    assert views == [turned, turned, unturned_view, unturned_view, unturned_view]


@pytest.mark.parametrize("rotation", ["ROTATE_NONE", "ROTATE_90", "ROTATE_180", "ROTATE_270"])
@pytest.mark.parametrize("known", [True, False])
def test_sizes_of_turned_images(tmp_path: Path, rotation: str, known: bool) -> None:
    """Without metadata of its own, a turned image has those of the file, turned."""
    micrometres = [{"value": value, "unit": "µm"} for value in (0.5, 0.25)]
    calibration = {"pixelWidth": micrometres[0], "pixelHeight": micrometres[1]}
    metadata = {"width": 40, "height": 30, "pixelCalibration": calibration}
    inner = {"builderType": "uri", "uri": "file:/s/a.svs", "metadata": metadata}
    across = rotation in ("ROTATE_90", "ROTATE_270")
    size, mpp = ((30, 40), (0.25, 0.5)) if across else ((40, 30), (0.5, 0.25))
    outer: dict[str, Any] = {"builderType": "rotated", "rotation": rotation, "builder": inner}
    if known:
        pixels = {"pixelWidth": micrometres[across], "pixelHeight": micrometres[not across]}
        outer["metadata"] = {"width": size[0], "height": size[1], "pixelCalibration": pixels}
    (found,) = read_project(written(tmp_path, image(1, **outer))).images
    assert (found.entry.size, found.entry.mpp, found.file_size) == (size, mpp, (40, 30))


def test_what_is_done_to_pixels(tmp_path: Path) -> None:
    inner = {"builderType": "uri", "uri": "file:/s/a.svs", "args": ["--icc-profile"]}
    cases: list[tuple[dict[str, Any], View, str]] = [
        ({"builderType": "flipped", "flip": "HORIZONTAL"}, FLIPS["HORIZONTAL"], ""),
        ({"builderType": "flipped"}, AS_STORED, ""),
        ({"builderType": "swapRedBlue", "order": "BGR"}, View(channels=(2, 1, 0)), ""),
        (
            {"builderType": "swapRedBlue", "order": "CMY"},
            AS_STORED,
            'changed in an unknown way ("swapRedBlue")',
        ),
        ({"builderType": "rotated", "rotation": "ROTATE_45"}, AS_STORED, 'in an unknown way ("rotated")'),
        ({"builderType": "color_deconvolved"}, AS_STORED, "with its stains separated"),
        ({"builderType": "z_projected"}, AS_STORED, "as a projection of its slices"),
        ({"builderType": "of the future"}, AS_STORED, 'changed in an unknown way ("of the future")'),
    ]
    images = [image(number, **{**layer, "builder": inner}) for number, (layer, _, _) in enumerate(cases, 1)]
    for found, (_, view, altered) in zip(read_project(written(tmp_path, *images)).images, cases, strict=True):
        assert found.entry.view == view
        assert found.entry.altered.endswith(altered)
        assert bool(found.entry.altered) == bool(altered)
        assert found.entry.icc


def test_missing_and_odd_fields(tmp_path: Path) -> None:
    micrometres = {"value": 0.5, "unit": "μm"}  # the Greek letter, not the micro sign
    calibrations: list[Any] = [
        None,
        {"pixelWidth": {"value": 0.5, "unit": "px"}, "pixelHeight": {"value": 0.5, "unit": "px"}},
        {"pixelWidth": micrometres, "pixelHeight": {"value": "NaN", "unit": "µm"}},
        {"pixelWidth": micrometres, "pixelHeight": {"value": 0, "unit": "µm"}},
        {"pixelWidth": micrometres, "pixelHeight": micrometres},
    ]
    images = [
        image(k, metadata={"width": "many", "height": -3, "sizeZ": None, "pixelCalibration": calibration})
        for k, calibration in enumerate(calibrations, start=1)
    ]
    bare = {"entryID": 9}
    found = [f.entry for f in read_project(written(tmp_path, *images, bare, version=3)).images]
    assert [entry.mpp for entry in found] == [None, None, None, None, (0.5, 0.5), None]
    assert all(entry.size is None and entry.size_z == 1 for entry in found)
    assert found[-1].name == "image 9"
    assert found[-1].uri == ""


def test_what_the_project_lacks_is_taken_from_the_server_file(tmp_path: Path) -> None:
    folder = written(tmp_path, {"entryID": 1})
    (folder / "data" / "1").mkdir(parents=True)
    server = {"builder": image()["serverBuilder"], "metadata": {"name": "n", "width": 5, "height": 6}}
    (folder / "data" / "1" / "server.json").write_text(json.dumps(server), encoding="utf-8")
    entry = read_project(folder).images[0].entry
    assert (entry.name, entry.uri, entry.size, entry.opened) == ("n", "file:/s/a.svs", (5, 6), False)


def test_an_entry_of_which_only_the_backup_is_left_counts_as_opened(project: Path) -> None:
    data = project / "data" / "1" / "data.qpdata"
    data.rename(data.with_name("data.qpdata.bkp"))
    assert read_project(project).images[0].entry.opened


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "builder",
                    "uri",
                    "args",
                    "metadata",
                    "width",
                    "pixelCalibration",
                    "pixelWidth",
                    "value",
                    "unit",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=200, deadline=None)
@given(builder=JSON, identifier=JSON)
def test_any_json_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, builder: Any, identifier: Any
) -> None:
    folder = written(
        tmp_path_factory.getbasetemp() / "any",
        {"entryID": identifier, "serverBuilder": builder, "imageName": builder},
        uri=builder,
    )
    try:
        assert len(read_project(folder).images) == 1
    except ProjectError as error:
        assert "\n" not in str(error)


@pytest.mark.parametrize(
    "malformed",
    [
        3,
        {},
        {"imageName": "lost"},
        {"entryID": "../x"},
        {"entryID": None},
        {"entryID": [1]},
        {"entryID": 1.5},
    ],
)
def test_a_malformed_entry_does_not_stop_the_others(tmp_path: Path, malformed: object) -> None:
    good = {"entryID": 7, "imageName": "good", "serverBuilder": {"builderType": "uri", "uri": "file:/a.png"}}
    content = {"images": [malformed, good, malformed]}
    (tmp_path / "project.qpproj").write_text(json.dumps(content), encoding="utf-8")
    first, second, third = (image.entry for image in read_project(tmp_path).images)
    assert (second.id, second.name, second.fault) == ("7", "good", "")
    for entry in (first, third):
        assert entry.fault
        assert entry.slide is None
        assert not entry.opened
        with pytest.raises(SlideError, match="the project"):
            open_image(entry)
    assert first.id != third.id


@pytest.mark.parametrize(
    "metadata",
    [
        {"width": 10**400, "height": 5},
        {"width": "wide", "height": [5]},
        {"pixelCalibration": {"pixelWidth": {"value": 10**400, "unit": "µm"}}},
        {"pixelCalibration": [1]},
        {"channels": 3, "sizeZ": None},
    ],
)
def test_impossible_metadata_count_as_none(tmp_path: Path, metadata: dict[str, object]) -> None:
    builder = {"builderType": "uri", "uri": "file:/a.png", "metadata": metadata, "args": ["--series", "²"]}
    content = {"images": [{"entryID": 7, "serverBuilder": builder}]}
    (tmp_path / "project.qpproj").write_text(json.dumps(content), encoding="utf-8")
    (image,) = read_project(tmp_path).images
    assert (image.entry.size, image.entry.mpp, image.entry.series) == (None, None, 0)
