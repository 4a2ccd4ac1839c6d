"""Every error that a user can cause or meet: one line with the subject, the reason and the remedy.

``CellGenNetError`` is the root. The command line prints ``str(error)`` and exits with ``exit_code``;
any other exception is a bug.
"""

from __future__ import annotations


class CellGenNetError(Exception):
    """An error in one line: ``subject: reason. remedy``.

    subject : the file, image, option or object at fault, as the user knows it.
    reason  : what is wrong with it, in lower case, without a full stop.
    remedy  : what to do about it, one sentence; empty if nothing can be done.
    """

    exit_code = 1

    def __init__(self, subject: object, reason: str, remedy: str = "") -> None:
        self.subject = str(subject)
        self.reason = reason
        self.remedy = remedy
        line = f"{self.subject}: {reason}."
        if remedy:
            line += f" {remedy.rstrip('.')}."
        super().__init__(" ".join(line.split()))

    def __reduce__(self) -> tuple[object, ...]:
        # Worker processes send their errors to the main process.
        return type(self), (self.subject, self.reason, self.remedy)


class UsageError(CellGenNetError):
    """A command or option used wrongly (exit code 2)."""

    exit_code = 2


class ConfigError(CellGenNetError):
    """A configuration file that cannot be read or contains an invalid value."""


class ProjectError(CellGenNetError):
    """A QuPath project that is missing, unreadable or unusable as a whole."""


class EntryDataError(CellGenNetError):
    """The data of one project entry (``data.qpdata``, GeoJSON) that cannot be read or written."""


class SlideError(CellGenNetError):
    """A slide that is missing or cannot be read."""


class CalibrationError(SlideError):
    """A slide whose pixel size is needed but unknown, or implausible."""


class SupervisionError(CellGenNetError):
    """Too few annotations to train or to evaluate on."""


class BundleError(CellGenNetError):
    """A model bundle that is missing or incomplete, or whose checksums do not match."""


class TrainingError(CellGenNetError):
    """A training run that cannot start, continue or be resumed."""


class DamagedStateError(TrainingError):
    """A checkpoint of a training that is cut off or damaged; its part of the training starts again."""


class MissingExtraError(CellGenNetError):
    """An optional part of the installation (an extra) that a command needs and that is not installed."""


class QuPathError(CellGenNetError):
    """QuPath is missing, too old, or refused an operation."""


class LockedError(ProjectError):
    """A project that another run of this tool is using."""


class ExportError(CellGenNetError):
    """A table that cannot be written."""


class Interrupted(CellGenNetError):
    """The user stopped the run; what is done is saved and can be resumed (exit code 130)."""

    exit_code = 130
