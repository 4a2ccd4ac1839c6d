"""What C++ code writes to the process' stderr is held back, and shown where the block fails.

In processes of their own: the test runner has its own hands on file descriptor 2.
"""

from __future__ import annotations

import subprocess
import sys

CHATTER = "os.write(2, b'chatter from C++\\n'); print('chatter from Python', file=sys.stderr)"


def stderr_of(block: str) -> list[str]:
    code = (
        "import os, sys\n"
        "from cellgennet_qupath.networks.quiet import quiet_stderr\n"
        "print('before', file=sys.stderr)\n"
        f"try:\n    with quiet_stderr():\n        {block}\n"
        "except BaseException as error:\n    print(type(error).__name__, file=sys.stderr)\n"
        "os.write(2, b'after\\n')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == ""
    return done.stderr.splitlines()


def test_chatter_is_held_back() -> None:
    assert stderr_of(CHATTER) == ["before", "after"]


def test_a_failure_shows_what_was_said() -> None:
    assert stderr_of(f"{CHATTER}; import no_such_module") == [
        "before", "chatter from C++", "chatter from Python", "ModuleNotFoundError", "after",
    ]  # fmt: skip


def test_an_interruption_shows_nothing() -> None:
    assert stderr_of(f"{CHATTER}; raise KeyboardInterrupt") == ["before", "KeyboardInterrupt", "after"]
