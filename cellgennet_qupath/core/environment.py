"""Faults of the environment (memory, disk, permissions, network) as one line that names the cause."""

from __future__ import annotations

import errno

from .errors import CellGenNetError

_ADVICE = {
    errno.ENOSPC: ("the disk is full", "Free some space, then run the command again"),
    errno.EDQUOT: ("your quota on this disk is used up", "Free some space, then run the command again"),
    errno.EFBIG: ("the disk allows no larger file", "Use another disk"),
    errno.EROFS: ("the disk is read-only", "Use another folder"),
    errno.EACCES: ("permission denied", "Check who may read and write it"),
    errno.EPERM: ("permission denied", "Check who may read and write it"),
    errno.EIO: ("the disk or network drive failed", "Check the drive, then run the command again"),
    errno.ESTALE: ("the network drive lost its connection", "Connect it, then run the command again"),
    errno.EMFILE: ("too many files are open", "Close other programs or raise the limit (ulimit -n)"),
    errno.ENFILE: ("too many files are open", "Close other programs"),
    errno.ENAMETOOLONG: ("the name is too long", "Use shorter names"),
    errno.ELOOP: ("links lead in a circle", "Replace the links"),
    errno.ENOMEM: ("there is not enough memory", "Close other programs or use fewer workers"),
    errno.EAGAIN: ("the system has too many processes", "Close other programs or use fewer workers"),
}
_MEMORY = CellGenNetError(
    "memory",
    "there is not enough",
    "Close other programs, or use fewer --workers or a smaller --tile or batch",
)
_MEMORY_TEXTS = ("out of memory", "not enough memory", "insufficient memory", "bad_alloc", "allocate memory")
"""How torch, TensorFlow and OpenCV say it, none of which raises MemoryError."""


def environment_error(error: BaseException) -> CellGenNetError | None:
    """The line for an exception that a computer, a disk or a file can cause; None for all others."""
    if isinstance(error, CellGenNetError):
        return error
    text = " ".join(str(error).lower().split())
    if isinstance(error, MemoryError) or any(part in text for part in _MEMORY_TEXTS):
        return _MEMORY
    if isinstance(error, RecursionError):
        return CellGenNetError(
            "input", "a file is nested too deeply to be read", "Run again with --debug to see which file"
        )
    if isinstance(error, UnicodeEncodeError):
        return CellGenNetError(
            "name",
            f"a name has characters that cannot be written ({error.reason})",
            "Rename the file or image",
        )
    if isinstance(error, ImportError):
        return CellGenNetError(
            "installation",
            f"a package cannot be loaded ({error})",
            "Run `cellgennet doctor`, or install again",
        )
    if isinstance(error, OSError):
        return _of_system(error)
    return None


def known_error(error: Exception) -> CellGenNetError:
    """The line for an exception that a user, a file or a computer caused; a bug of ours is raised again."""
    known = environment_error(error)
    if known is None:
        raise error
    return known


def of_image(name: str, error: Exception) -> str:
    """The line for an image that cannot be used, and is left out. A bug of ours is raised again."""
    known = known_error(error)
    return str(known) if known is error else f"{name}: {known}"


def advice(error: OSError) -> str:
    """What to do about a file that cannot be read or written."""
    return _ADVICE.get(error.errno or 0, ("", "Check the disk, then run the command again"))[1]


def in_one_line(error: BaseException) -> str:
    """Any exception in one line: the cause where it is known, else the name of its class and its message."""
    known = environment_error(error)
    if known is not None:
        return str(known)
    kind, text = type(error).__name__, " ".join(str(error).split())
    return f"{kind}: {text[:300].rstrip('.')}." if text else f"{kind}."


def _of_system(error: OSError) -> CellGenNetError:
    subject = error.filename if isinstance(error.filename, str | bytes) else None
    if isinstance(subject, bytes):
        subject = subject.decode(errors="replace")
    reason, remedy = _ADVICE.get(error.errno or 0, (error.strerror or str(error) or "an unknown fault", ""))
    return CellGenNetError(subject or "system", reason[:1].lower() + reason[1:], remedy)
