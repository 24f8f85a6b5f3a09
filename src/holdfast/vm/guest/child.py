# SPDX-License-Identifier: Apache-2.0
"""The process of one job."""

from __future__ import annotations

import os
import sys
from collections.abc import Generator
from importlib import import_module
from typing import Any, NoReturn

from holdfast.vm.frames import Kind, encode
from holdfast.vm.values import pack

__all__ = ["run_call"]


def run_call(job: dict[str, Any], news: int, said: int) -> NoReturn:
    """Call the job's function, write its parts and its value to ``news``, and end the process.

    stdout and stderr go to ``said``; stdin is empty.
    """
    status = 1
    try:
        nothing = os.open("/dev/null", os.O_RDONLY)
        os.dup2(nothing, 0)
        os.dup2(said, 1)
        os.dup2(said, 2)
        # whatever stood there before, and whatever was waiting in it
        sys.stdout = os.fdopen(1, "w", closefd=False)
        sys.stderr = os.fdopen(2, "w", closefd=False, errors="backslashreplace")
        _write(news, Kind.DONE, _outcome(job, news))
        status = 0
    finally:
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(status)


def _outcome(job: dict[str, Any], news: int) -> dict[str, Any]:
    from holdfast.errors import HoldfastError

    try:
        module, _, name = job["call"].partition(":")
        result = getattr(import_module(module), name)(**job["arguments"])
        if isinstance(result, Generator):
            while True:
                try:
                    _write(news, Kind.PART, next(result))
                except StopIteration as end:
                    result = end.value
                    break
        pack(result)  # what cannot be sent fails here, where it is caught
        return {"value": result}
    except HoldfastError as error:
        return {"problem": error.message}
    except BaseException as error:  # noqa: BLE001  whatever it is, the host is told; the job counts as failed
        import traceback

        traceback.print_exc()
        return {"problem": f"{type(error).__name__}: {error}"}


def _write(news: int, kind: Kind, value: Any) -> None:
    view = memoryview(encode(kind, pack(value)))
    while view:
        view = view[os.write(news, view) :]
