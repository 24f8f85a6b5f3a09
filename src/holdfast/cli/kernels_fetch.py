# SPDX-License-Identifier: Apache-2.0
"""``holdfast kernels fetch``: bring kernel packages of a distribution into the catalogue."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from holdfast.cli.console import say
from holdfast.cli.exit_status import ExitStatus

if TYPE_CHECKING:
    from holdfast.kernels.sources import KernelBuild

__all__ = ["command"]

SCHEMA_VERSION = 1
_MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}  # the kernel's word: the distribution's


@click.command("fetch", short_help="Fetch kernels of a distribution and add them.")
@click.argument("pattern", metavar="PACKAGE-GLOB")
@click.option("--distribution", metavar="NAME", help="debian or ubuntu.  [default: this machine's]")
@click.option("--suite", required=True, metavar="SUITE", help="As the archive calls it: trixie-backports.")
@click.option("--arch", metavar="ARCH", help="As the archive calls it: amd64.  [default: this machine's]")
@click.option("--list", "only_list", is_flag=True, help="Show what matches and fetch nothing.")
@click.option("--keep", is_flag=True, help="Keep the packages after they are in the catalogue.")
@click.option("--unlisted", is_flag=True, help="Take parts that no index lists any more; nothing signs them.")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
def command(
    pattern: str,
    distribution: str | None,
    suite: str,
    arch: str | None,
    only_list: bool,
    keep: bool,
    unlisted: bool,
    form: str,
) -> int:
    """Fetch kernels whose package or release matches PACKAGE-GLOB and add them to the catalogue.

    They come from the mirror that apt here is set up with, from any suite of its archive, checked from the
    distribution's keyring down. Interrupted downloads are gone on with the next time.

    \b
    holdfast kernels fetch --suite trixie-backports 'linux-image-6.18*-cloud-amd64'
    holdfast kernels fetch --suite sid --arch arm64 --list '*'
    """
    from holdfast.cli.console import print_json
    from holdfast.kernels.sources import Archive, kernel_builds

    archive = Archive(distribution or _own_distribution())
    source = archive.suite(suite)
    for note in source.notes:
        say(f"note: {note}", err=True)
    builds = kernel_builds(source, arch or _own_arch(), pattern)
    rows = [_row(build) for build in builds]
    status = ExitStatus.OK
    if not only_list:
        status = _bring(archive, builds, rows, keep=keep, unlisted=unlisted)
    if form == "json":
        print_json({"schema_version": SCHEMA_VERSION, "kernels": rows})
    else:
        for row in rows:
            say(_line(row))
    return status


def _bring(
    archive: Any, builds: list[KernelBuild], rows: list[dict[str, Any]], **options: bool
) -> ExitStatus:
    """Fetch and add each kernel; one that fails does not keep the others away, unless the archive is gone."""
    from holdfast.errors import HoldfastError
    from holdfast.kernels.sources import OfflineError, download

    status = ExitStatus.OK
    for number, (build, row) in enumerate(zip(builds, rows, strict=True), 1):
        try:
            with _progress(f"{number} of {len(builds)}", build.size) as progress:
                paths = download(build, archive=archive, unlisted=options["unlisted"], progress=progress)
            row["id"] = _add(build, paths)
            if options["keep"]:
                row["files"] = [str(path) for path in paths]
            else:
                for path in paths:
                    path.unlink(missing_ok=True)
        except HoldfastError as error:
            if len(builds) == 1 or isinstance(error, OfflineError):
                raise
            row["error"] = error.message
            status = ExitStatus.ERROR
            say(f"holdfast: {error.message}", err=True)
            if error.hint:
                say(f"hint: {error.hint}", err=True)
    return status


def _add(build: KernelBuild, paths: list[Path]) -> str:
    """Put a kernel into the catalogue and return its id there."""
    add: Callable[..., str] = importlib.import_module("holdfast.kernels.build").add_package
    return add(
        paths,
        distribution=build.distribution,
        suite=build.suite,
        source=build.source,
        source_version=build.source_version,
    )


def _own_distribution() -> str:
    from holdfast.kernels.sources.distribution import machine

    return machine()[0]


def _own_arch() -> str:
    import platform

    return _MACHINES.get(platform.machine(), platform.machine())


def _row(build: KernelBuild) -> dict[str, Any]:
    return {
        "id": None,  # not in the catalogue yet
        "package": build.name,
        "version": build.version,
        "release": build.release,
        "arch": build.arch,
        "suite": build.suite,
        "size": build.size,
        "source": build.source,
        "source_version": build.source_version,
        "parts": [
            {"package": one.name, "sha256": one.file.digest and one.file.digest.sha256}
            for one in build.packages
        ],
        "unlisted": [one.name for one in build.unlisted],
        "files": [],
        "error": None,
    }


def _line(row: dict[str, Any]) -> str:
    size = f"{row['size'] / 1e6:.0f} MB"
    parts = f", {len(row['unlisted'])} parts unlisted" if row["unlisted"] else ""
    state = f"  -> {row['id']}" if row["id"] else "  -> not added" if row["error"] else ""
    return f"{row['package']}  {row['version']}  {size}{parts}{state}"


@contextmanager
def _progress(what: str, size: int) -> Iterator[Callable[[str], Callable[[int, int], None]]]:
    """A bar on stderr over the bytes of all packages of a kernel, if stderr is a terminal."""
    if not sys.stderr.isatty():
        yield lambda _name: lambda _done, _total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}", markup=False), BarColumn(bar_width=20), DownloadColumn())
    console = Console(file=sys.stderr, markup=False, emoji=False, highlight=False)
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as bar:
        task, before, last = bar.add_task(what, total=size), 0, 0

        def start(name: str) -> Callable[[int, int], None]:
            nonlocal before, last
            before, last = before + last, 0
            bar.update(task, description=f"{what} {name.partition('_')[0]}")

            def step(done: int, _total: int) -> None:
                nonlocal last
                last = done
                bar.update(task, completed=before + done)

            return step

        yield start
