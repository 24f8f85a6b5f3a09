# SPDX-License-Identifier: Apache-2.0
"""Modules of the standard library that are imported for functions nobody calls: left out until one does.

A guest without KVM imports thirty times slower than this machine does.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import Any

__all__ = ["later"]


class _Later(ModuleType):
    """Stands for a module, and becomes it when something of it is asked for."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # the import system's own questions
            raise AttributeError(name)
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        self.__dict__.update(import_module(self.__name__).__dict__)
        return self.__dict__[name] if name in self.__dict__ else _absent(self.__name__, name)


def _absent(module: str, name: str) -> Any:
    raise AttributeError(f"module {module!r} has no attribute {name!r}")


def later(*names: str) -> None:
    """Let these modules be imported when something of them is used; those that are imported already stay.

    ``inspect`` is for classes without a docstring in :mod:`dataclasses` and brings ast, dis and tokenize;
    ``ipaddress`` is for URLs in urllib.parse, which pathlib brings. Remove a name when no Python that is
    supported imports it for these.
    """
    for name in names:
        sys.modules.setdefault(name, _Later(name))
