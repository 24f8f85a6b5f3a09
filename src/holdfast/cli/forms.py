# SPDX-License-Identifier: Apache-2.0
"""Cases on stdout in a form that other tools read; ``check`` and ``verify`` have the same."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import click

if TYPE_CHECKING:
    from holdfast.report.cases import Case

__all__ = ["CASE_FORMS", "print_cases"]

CASE_FORMS: Final = ("junit", "markdown", "sarif")


def print_cases(form: str, cases: Sequence[Case]) -> None:
    """Print one document of that form; ``form`` is of :data:`CASE_FORMS`."""
    if form == "sarif":
        from holdfast.cli.console import print_json
        from holdfast.report.sarif import sarif

        print_json(sarif(cases))
    elif form == "junit":
        from holdfast.report.junit import junit

        click.echo(junit(cases), nl=False)
    else:
        from holdfast.report.markdown import markdown

        click.echo(markdown(cases), nl=False)
