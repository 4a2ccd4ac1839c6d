"""Libraries that are loaded when they are first used: a command loads nothing that it does not need."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType
from typing import Any


class _Lazy(ModuleType):
    """Stands for a module until something of it is asked for."""

    def __getattr__(self, name: str) -> Any:
        value = getattr(import_module(self.__name__), name)
        # Found directly from now on.
        self.__dict__[name] = value
        return value


def lazy(name: str) -> Any:
    """A module that is imported at its first use. Import errors are raised there."""
    return _Lazy(name)
