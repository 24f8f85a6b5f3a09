# SPDX-License-Identifier: Apache-2.0
"""The door of the command line: ``holdfast`` and ``python -m holdfast.cli.main``.

Importing this module costs less than starting the interpreter; click comes in with the first verb.
"""

from __future__ import annotations

import os
import sys

__all__ = ["main"]

_INTERRUPTED = 130  # 128 + SIGINT, as shells say it


def main() -> None:
    """Run the command line of this process and exit with its status."""
    if sys.stdout is None:  # started with stdout closed; what is opened next must not take its number
        sys.stdout = os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")
    try:
        status = _run(sys.argv[1:])
        # A reader that has gone (head, less) shows here at the latest, not in the interpreter's last breath.
        sys.stdout.flush()
    except KeyboardInterrupt:  # while click or the verb is imported; later the group answers it
        status = _INTERRUPTED
    except OSError as error:
        if not isinstance(error, BrokenPipeError):
            sys.stderr.write(f"holdfast: stdout cannot be written: {error.strerror}\n")
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())  # what is still buffered goes there at exit
        status = 1
    sys.exit(status)


def _run(arguments: list[str]) -> int:
    if arguments == ["--version"]:
        from holdfast._version import __version__

        sys.stdout.write(f"holdfast {__version__}\n")
        return 0
    from holdfast.cli.group import run

    return run(arguments)


if __name__ == "__main__":
    main()
