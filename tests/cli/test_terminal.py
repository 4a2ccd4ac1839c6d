"""Output: any name can be printed in any code page, nothing in it acts on the terminal, and no fault of the
environment is called a bug."""

from __future__ import annotations

import errno
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from cellgennet_qupath.cli import cellgennet, run
from cellgennet_qupath.cli.inspect import _print_table
from cellgennet_qupath.cli.terminal import SafeStream, encodable, printable
from tests.helpers import messages

NAMES = [
    "Łódź 肝臓 α",
    "tab\there",
    "bell\x07 \x1b[2J\x1b]0;title\x07",
    "\ud800 lone",
    "\u202egnp.exe",
    "😀",
    "\x9b1m",
]


def written(text: str, encoding: str) -> str:
    raw = io.BytesIO()
    stream = SafeStream(io.TextIOWrapper(raw, encoding=encoding, newline=""))
    stream.write(text)
    stream.flush()
    return raw.getvalue().decode(encoding)


@pytest.mark.parametrize(
    "encoding", ["utf-8", "ascii", "cp1252", "gbk", "cp932", "latin-1", "cp437", "koi8-r"]
)
def test_json_in_any_code_page_reads_back_as_it_was(encoding: str) -> None:
    text = written(json.dumps(NAMES, ensure_ascii=False), encoding)
    assert json.loads(text) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_nothing_in_a_name_acts_on_the_terminal(name: str) -> None:
    assert not [c for c in written(name, "utf-8") if (ord(c) < 32 and c != "\t") or 0x7F <= ord(c) < 0xA0]
    assert printable(printable(name)) == printable(name)


def _numbers(group: click.Command, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    """Every option of every command that takes a number with a decimal point."""
    if isinstance(group, click.Group):
        context = click.Context(group)
        for name in group.list_commands(context):
            command = group.get_command(context, name)
            assert command is not None
            yield from _numbers(command, (*words, name))
    for parameter in group.params:
        if isinstance(parameter.type, click.FloatRange | click.types.FloatParamType):
            yield words, parameter.opts[0]


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "1e999"])
@pytest.mark.parametrize(("words", "option"), list(_numbers(cellgennet)))
def test_no_option_takes_what_is_not_a_number(
    words: tuple[str, ...], option: str, value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*words, f"{option}={value}", "nowhere"]) == 2
    assert option in capsys.readouterr().err


def test_names_in_the_table_of_inspect_are_printable(capsys: pytest.CaptureFixture[str]) -> None:
    image = {"id": "1", "width": 0, "height": 0, "mpp": None, "annotations": {"a\x1b[31m": 1}, "regions": 0}
    image |= {"reader": None, "detections": 0, "problem": "p\x07", "findings": [{"sentence": "s\x9b"}]}
    image |= {"trainable": {"nuclei": 0, "validation_nuclei": 0}, "name": "n\x1b[2J\x08"}
    _print_table({"project": "p\r", "backend": "files", "images": [image]}, "")
    out = capsys.readouterr().out
    for shown in ("\\u001b[2J", "\\u0008", "\\u001b[31m", "\\u0007", "\\u009b", "\\u000d"):
        assert shown in out
    assert out.isprintable() or not [c for c in out if not c.isprintable() and c != "\n"]


def test_an_unknown_encoding_becomes_ascii() -> None:
    assert encodable("ä", "no-such-code-page") == "\\u00e4"


def test_libraries_may_close_what_they_believe_to_be_standard_error() -> None:
    raw = io.StringIO()
    stream = SafeStream(raw)
    stream.writelines(["a", "b"])
    stream.close()
    assert raw.getvalue() == "ab"


def test_a_reader_that_has_gone_does_not_end_the_work() -> None:
    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    stream = SafeStream(Gone())
    stream.write("a")
    stream.write("b")
    stream.flush()


@pytest.mark.parametrize(
    ("fault", "cause"),
    [
        (MemoryError(), "memory"),
        (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), "memory"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: not enough memory: you tried"), "memory"),
        (OSError(errno.ENOSPC, "No space left on device", "/data/x"), "/data/x: the disk is full"),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), "quota"),
        (PermissionError(errno.EACCES, "Permission denied", "/data/x"), "/data/x: permission denied"),
        (OSError(errno.EROFS, "Read-only file system", "/data/x"), "read-only"),
        (OSError(errno.EMFILE, "Too many open files"), "too many files"),
        (FileNotFoundError(errno.ENOENT, "No such file or directory", "gone"), "gone: no such file"),
        (ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"), "connection reset"),
        (RecursionError("maximum recursion depth exceeded"), "nested too deeply"),
        (ImportError("libGL.so.1: cannot open shared object file"), "libGL"),
        (UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates not allowed"), "surrogates"),
    ],
)
def test_a_fault_of_the_environment_is_one_line_that_names_it(
    fault: Exception,
    cause: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    sample_project: Path,
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise fault

    monkeypatch.setattr("cellgennet_qupath.annotations.overview.describe_project", fail)
    assert run(["inspect", str(sample_project), "--backend", "files"]) == 1
    err = capsys.readouterr().err
    assert len(err.splitlines()) == 1
    assert cause in err
    assert "nternal" not in err


STUBBORN = """
import sys, time
from pathlib import Path
from cellgennet_qupath import cli
from cellgennet_qupath.core.files import replacing
def work(arguments):
    try:
        with replacing(Path(sys.argv[1]) / "result") as part:
            part.write_text("half")
            print("ready", flush=True)
            time.sleep(60)
    finally:
        print("cleaning", flush=True)
        time.sleep(60)
cli._run = work
cli.main([])
"""


@pytest.mark.skipif(sys.platform == "win32", reason="sends POSIX signals")
@pytest.mark.parametrize("when", ["writing", "cleaning"])
def test_a_second_interruption_ends_quietly_and_leaves_no_half_written_file(
    tmp_path: Path, when: str
) -> None:
    code = STUBBORN
    if when == "writing":  # the first one comes while cleaning up is still inside `replacing`
        code = code.replace("time.sleep(60)\n    finally", "wait()\n    finally").replace(
            "def work", "def wait():\n    try:\n        time.sleep(60)\n    finally:\n"
            "        print('cleaning', flush=True)\n        time.sleep(60)\ndef work"
        )  # fmt: skip
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    assert process.stdout.readline() == "cleaning\n"
    begun = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (130, "")
    assert time.monotonic() - begun < 20
    assert list(tmp_path.iterdir()) == []


def test_a_closed_pipe_gives_neither_an_error_nor_a_traceback(sample_project: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "cellgennet_qupath", "inspect", str(sample_project), "--backend", "files"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONIOENCODING": "cp1252"},
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        err = process.stderr.read()
        assert process.wait(120) == 0
    assert all(line.startswith(("Next: cellgennet ", "  or: cellgennet ")) for line in messages(err))
