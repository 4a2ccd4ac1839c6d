"""Installing the scripts: which folders, which Python, and what is kept."""

from __future__ import annotations

import os
import plistlib
import sys
from pathlib import Path

import pytest

from cellgennet_qupath.cli import run
from cellgennet_qupath.core.errors import CellGenNetError, UsageError
from cellgennet_qupath.core.resources import groovy_scripts
from cellgennet_qupath.qupath import scripts, userfolders

NAMES = [
    "cellgennet_correct.groovy",
    "cellgennet_export_annotations.groovy",
    "cellgennet_import_detections.groovy",
    "cellgennet_menu.groovy",
    "cellgennet_segment_image.groovy",
    "cellgennet_segment_project.groovy",
    "cellgennet_suggest.groovy",
    "cellgennet_train.groovy",
]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "höme"
    monkeypatch.setenv("CELLGENNET_HOME", str(folder / ".cellgennet"))
    monkeypatch.setattr(Path, "home", lambda: folder)
    return folder


def test_scripts_are_installed_with_the_python_they_start(home: Path, tmp_path: Path) -> None:
    target = tmp_path / "scr ipts"
    installed = scripts.install_scripts(target, Path("C:\\Users\\ä b\\python.exe"))
    assert installed.folders == (target,)
    assert sorted(path.name for path in target.iterdir()) == NAMES
    assert (home / ".cellgennet" / "library.groovy").is_file()
    assert (home / ".cellgennet" / "menu.groovy").is_file()
    # In a properties file a backslash is written twice.
    assert "python=C:\\\\Users\\\\ä b\\\\python.exe\n" in installed.settings.read_text(encoding="utf-8")


def test_changed_scripts_are_kept(home: Path, tmp_path: Path) -> None:
    scripts.install_scripts(tmp_path / "s", Path("python"))
    changed = tmp_path / "s" / NAMES[0]
    changed.write_text("mine", encoding="utf-8")
    installed = scripts.install_scripts(tmp_path / "s", Path("python"))
    assert installed.kept == (changed.with_name(changed.name + ".old"),)
    assert installed.kept[0].read_text(encoding="utf-8") == "mine"
    assert changed.read_bytes() == (groovy_scripts() / NAMES[0]).read_bytes()
    assert scripts.install_scripts(tmp_path / "s", Path("python")).kept == ()


def test_the_command_says_where_scripts_are(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "scr ipts"
    assert run(["groovy", "install", str(target)]) == 0
    said = capsys.readouterr().out
    assert f"Scripts: {target}\n" in said
    assert f"They start {sys.executable} " in said
    assert run(["groovy", "install"]) == 2
    assert "no QuPath user folder" in capsys.readouterr().err


def test_user_folders_of_qupath_are_found(home: Path) -> None:
    with pytest.raises(UsageError, match="no QuPath user folder"):
        scripts.install_scripts(None, Path("python"))
    for version in ("v0.5", "v0.7"):
        (home / "QuPath" / version).mkdir(parents=True)
    folders = scripts.install_scripts(None, Path("python")).folders
    assert [folder.parent.name for folder in folders] == ["v0.5", "v0.7"]
    assert all((folder / NAMES[0]).is_file() for folder in folders)


def test_user_folders_elsewhere_are_found_in_the_preferences(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    elsewhere = tmp_path / "Größe & Co"
    elsewhere.mkdir()
    preferences = home / ".java" / ".userPrefs" / "_!'k!bw!u!=" / "prefs.xml"
    preferences.parent.mkdir(parents=True)
    path = str(elsewhere).replace("&", "&amp;")
    preferences.write_text(
        f'<?xml version="1.0"?><map><entry key="a" value="x"/><entry key="userPath" value="{path}"/></map>',
        encoding="utf-8",
    )
    assert scripts.install_scripts(None, Path("python")).folders == (elsewhere / "scripts",)
    elsewhere.rename(tmp_path / "moved")
    with pytest.raises(UsageError, match="no QuPath user folder"):
        scripts.install_scripts(None, Path("python"))


def test_preferences_of_macos_and_windows(tmp_path: Path) -> None:
    node = {"/": {"io.github.qupath/": {"0.5/": {"userPath": "/Volumes/Lab/QuPath"}, "0.7/": {"a": "b"}}}}
    file = tmp_path / "com.apple.java.util.prefs.plist"
    file.write_bytes(plistlib.dumps(node))
    assert userfolders.in_plist(file) == ["/Volumes/Lab/QuPath"]
    file.write_bytes(b"bplist00 nothing")
    assert userfolders.in_plist(file) == []
    assert userfolders.in_xml(tmp_path / "missing.xml") == []
    assert userfolders.from_registry("user/Path") == "userPath"
    assert userfolders.from_registry("/D:////Gr/u00f6/u00dfe") == "D:\\\\Größe"
    assert userfolders.from_registry("\\home\\ann") == "/home/ann"


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="everybody may write here")
def test_a_folder_that_may_not_be_written_is_named(home: Path, tmp_path: Path) -> None:
    folder = tmp_path / "locked"
    folder.mkdir()
    folder.chmod(0o500)
    with pytest.raises(CellGenNetError, match=r"permission|Permission"):
        scripts.install_scripts(folder, Path("python"))


@pytest.mark.parametrize("name", NAMES)
def test_each_script_says_what_it_does_and_where_it_was_tested(name: str) -> None:
    text = (groovy_scripts() / name).read_text(encoding="utf-8")
    header = text[: text.index("def home")]
    assert text.startswith("/*\n * ")
    assert "When to use it" in header
    assert "Last tested on QuPath 0.5" in header
    assert text.isascii(), "an old Java reads scripts in the system's encoding"
