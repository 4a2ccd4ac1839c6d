"""Every error a user can cause or meet: one line that names the thing, the reason and the remedy.

``CellGenNetError`` is the root. The command line prints ``str(error)`` and leaves with ``exit_code``;
anything that is not a ``CellGenNetError`` is a bug of ours.
"""

from __future__ import annotations


class CellGenNetError(Exception):
    """An error told in one line: ``subject: reason. remedy``.

    subject : the file, image, option or object that is at fault, as the user knows it.
    reason  : what is wrong with it, in lower case, without a full stop.
    remedy  : what to do about it, one sentence; may be empty where nothing can be done.
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
        # Worker processes send their errors home.
        return type(self), (self.subject, self.reason, self.remedy)


class UsageError(CellGenNetError):
    """A command or option used wrongly (exit code 2)."""

    exit_code = 2


class ConfigError(CellGenNetError):
    """A configuration file that cannot be read or holds an impossible value."""


class ProjectError(CellGenNetError):
    """A QuPath project that is missing, unreadable or unusable as a whole."""


class EntryDataError(CellGenNetError):
    """The data of one project entry (``data.qpdata``, GeoJSON) that cannot be read or written."""


class SlideError(CellGenNetError):
    """A slide that is missing or cannot be read."""


class CalibrationError(SlideError):
    """A slide without a pixel size where one is needed."""


class SupervisionError(CellGenNetError):
    """Annotations that are not enough to train or to evaluate on."""


class BundleError(CellGenNetError):
    """A model bundle that is missing, incomplete or not what its checksums say."""


class TrainingError(CellGenNetError):
    """A training run that cannot start, go on or be resumed."""


class MissingExtraError(CellGenNetError):
    """An optional part of the installation (an extra) that a command needs and that is not installed."""


class QuPathError(CellGenNetError):
    """A QuPath that is missing, too old, or refused an operation."""


class LockedError(ProjectError):
    """A project on which another run of this tool is at work."""


class ExportError(CellGenNetError):
    """A table that cannot be written."""


class Interrupted(CellGenNetError):
    """The user stopped the run; what is done is saved and can be resumed (exit code 130)."""

    exit_code = 130
