# SPDX-License-Identifier: Apache-2.0
"""``holdfast kernels``: the catalogue of kernels, and what one offers."""

from __future__ import annotations

import click

from holdfast.cli import kernels_add, kernels_diff, kernels_fetch, kernels_list, kernels_probe, kernels_show

__all__ = ["command"]


@click.group("kernels")
def command() -> None:
    """Show what a kernel offers, and keep the catalogue.

    Kernels that Holdfast knows without a network come with it; `add` and `fetch` bring more.
    """


for _verb in (kernels_list, kernels_show, kernels_add, kernels_fetch, kernels_diff, kernels_probe):
    command.add_command(_verb.command)
command.add_command(kernels_add.remove)
