# SPDX-License-Identifier: Apache-2.0
"""``holdfast kernels show``: what one kernel offers."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import click

from holdfast.cli.console import say, text_width
from holdfast.cli.exit_status import ExitStatus

if TYPE_CHECKING:
    from holdfast.kernels import Answer, KernelFacts, Wanted

__all__ = ["command"]

SCHEMA_VERSION = 1
_FORMAT = click.Choice(["text", "json"])
_SURFACE = {
    "attach-types": "attach types",
    "link-types": "link types",
    "struct-ops": "struct_ops",
    "lsm-hooks": "LSM hooks",
    "tracepoints": "tracepoints",
    "iterators": "iterators",
    "capabilities": "capabilities",
    "config": "config",
}
_ONLY = ("kfuncs", "helpers", "program-types", "map-types", *_SURFACE)


@click.command("show", short_help="Show what one kernel offers.")
@click.argument("selector", metavar="SEL")
@click.option(
    "--only",
    type=click.Choice(list(_ONLY)),
    metavar="TABLE",
    help=f"Print one table alone, and ask the running kernel all of it: {', '.join(_ONLY)}.",
)
@click.option("--format", "form", type=_FORMAT, default="text", show_default=True)
def command(selector: str, only: str | None, form: str) -> int:
    """Show what kernel SEL offers: 'live', an id of the catalogue, or a path.

    Who may call a helper or kfunc is asked of the running kernel by loading tiny programs, which needs
    CAP_BPF; of others .BTF_ids, init code and the rules tell. Nothing stays loaded. `show live --format json`
    without --only has all of this machine's facts with it, for `holdfast kernels add` on another.
    """
    from holdfast.cli.console import print_json
    from holdfast.cli.subjects import open_kernels
    from holdfast.errors import UsageError

    found = open_kernels([selector])
    if len(found) != 1:
        raise UsageError(f"{selector!r} names {len(found)} kernels", hint="name one; `holdfast kernels list`")
    kernel = _asked(found[0], only)
    result = {"schema_version": SCHEMA_VERSION, "id": kernel.id, "release": kernel.release}
    if only is None:
        result |= _summary(kernel)
    tables = {
        "kfuncs": _kfuncs,
        "helpers": _helpers,
        "program-types": _program_types,
        "map-types": _map_types,
    }
    for name in [only] if only else ["program-types", "map-types"]:
        rows = tables[name](kernel) if name in tables else _surface(kernel, name)
        result[name.replace("-", "_")] = rows
    if only is None and kernel.source == "live" and form == "json":
        from holdfast.kernels.live_files import export_live

        result["export"] = export_live(kernel)
    if kernel.probes is not None and kernel.probes.obstacle:
        say(f"note: {kernel.probes.obstacle}; what only a probe can tell is unknown", err=True)
    if only == "kfuncs" and result["kfuncs"] is None:
        click.echo("note: this kernel's BTF has no kfunc tags, so its kfuncs are not known", err=True)
    if form == "json":
        print_json(result)
    else:
        _print(result)
    return ExitStatus.UNKNOWN if only == "kfuncs" and result["kfuncs"] is None else ExitStatus.OK


def _asked(kernel: KernelFacts, only: str | None) -> KernelFacts:
    """The kernel with probe answers for what is to be shown, if it is the running one."""
    if kernel.source != "live":
        return kernel
    from holdfast.cli.console import progress
    from holdfast.kernels import live

    parts = list(_parts(kernel, only))
    with progress("asking the running kernel", len(parts)) as step:
        for wanted in parts:
            kernel = live.ask(kernel, wanted)
            step("")
    return kernel


def _parts(kernel: KernelFacts, only: str | None) -> Iterable[Wanted]:
    """What to ask, in pieces that take some tenths of a second each."""
    from holdfast.kernels import probe

    if only in (None, "program-types", "map-types"):
        yield probe.all_types() | probe.all_features()
    elif only == "helpers":
        numbers = [number for number, _ in _helper_numbers(kernel)]
        for start in range(0, len(numbers), 32):
            yield probe.every_helper(numbers[start : start + 32])
    else:
        names = kernel.kfunc_names()
        for start in range(0, len(names), 32):
            yield probe.every_kfunc(names[start : start + 32])


def _summary(kernel: KernelFacts) -> dict[str, Any]:
    host = kernel.host
    return {
        "arch": kernel.arch,
        "source": kernel.source,
        "btf_types": None if kernel.vmlinux is None else len(kernel.vmlinux),
        "modules": None if kernel.module_names is None else sorted(kernel.module_names),
        "modules_with_btf": list(kernel.modules),
        "config_options": None if kernel.config is None else len(kernel.config),
        "kfuncs": len(kernel.kfunc_names()) or None,
        "helpers": len(_helper_numbers(kernel)),
        "insn_features": {str(k): v for k, v in kernel.probes.insn_features.items()}
        if kernel.probes
        else None,
        "host": None
        if host is None
        else {
            "capabilities": sorted(host.capabilities),
            "initial_user_namespace": host.initial_user_namespace,
            "unprivileged_bpf_disabled": host.unprivileged_bpf_disabled,
            "bpf_jit_enable": host.bpf_jit_enable,
            "lockdown": host.lockdown,
            "lsms": host.lsms,
        },
    }


def _kfuncs(kernel: KernelFacts) -> list[dict[str, Any]] | None:
    rows, there = [], _types_there(kernel)
    for name in kernel.kfunc_names():
        found = kernel.kfunc(name)
        if found is None:
            continue
        types = found.program_types
        undecided = found.undecided & there
        rows.append(
            {
                "name": name,
                "flags": None if found.flags is None else sorted(found.flags),
                "program_types": None if types is None or undecided == there else _names(types),
                "program_types_undecided": _names(undecided),
                "narrowed": found.narrowed,
                "module": found.module,
                "prototype": found.prototype,
                "evidence": [str(one) for one in found.evidence],
            }
        )
    return rows or None


def _surface(kernel: KernelFacts, name: str) -> list[dict[str, Any]] | None:
    """A table of names with what sets them apart from kernel to kernel: a prototype, members, a number."""
    from holdfast.history.surface import Section, table

    found = table(kernel, Section(_SURFACE[name]))
    return None if found is None else [{"name": key, "says": found[key]} for key in sorted(found)]


def _helper_numbers(kernel: KernelFacts) -> list[tuple[int, str]]:
    values = kernel.enumerators("bpf_func_id") or {}
    return sorted(
        (number, name.removeprefix("BPF_FUNC_"))
        for name, number in values.items()
        if name.startswith("BPF_FUNC_") and number > 0
    )


def _helpers(kernel: KernelFacts) -> list[dict[str, Any]]:
    rows, there = [], _types_there(kernel)
    for number, name in _helper_numbers(kernel):
        answers = {kind: _callable(kernel, number, kind) for kind in there}
        admitted = [kind for kind, value in answers.items() if value]
        undecided = [kind for kind, value in answers.items() if value is None]
        decided = len(undecided) < len(answers)
        rows.append(
            {
                "number": number,
                "name": name,
                "program_types": _names(admitted) if decided else None,
                "program_types_undecided": _names(undecided),
                "evidence": ["btf", *(["probe" if kernel.probes else "rule"] if decided else [])],
            }
        )
    return rows


def _callable(kernel: KernelFacts, number: int, kind: Any) -> bool | None:
    """By a probe, else by the kernel's tables (:mod:`holdfast.rules.helpers`), all capabilities held."""
    from holdfast.rules import helpers
    from holdfast.rules.ask import Allowed
    from holdfast.rules.btf_ask import BtfAsk

    asked = kernel.helper(number, kind)
    if asked.value is not None or kernel.source == "live":
        return asked.value
    ask = BtfAsk(kernel.vmlinux, kernel.config, None, frozenset(), None, kernel.arch)
    answers = {
        helpers.callable_from(number, kind, None, sleepable, ask, gpl_compatible=True).allowed
        for sleepable in (False, True)
    }
    if Allowed.YES in answers:
        return True
    return False if answers == {Allowed.NO} else None


def _program_types(kernel: KernelFacts) -> list[dict[str, Any]]:
    return _types(_all_types(), kernel.program_type_known, kernel.program_type)


def _map_types(kernel: KernelFacts) -> list[dict[str, Any]]:
    from holdfast.terms import MapType

    types = [kind for kind in MapType if kind is not MapType.UNSPEC]
    return _types(types, kernel.map_type_known, kernel.map_type)


def _types(
    types: Iterable[Any], known: Callable[[Any], Answer], available: Callable[[Any], Answer]
) -> list[dict[str, Any]]:
    rows = []
    for kind in types:
        answer = available(kind)
        rows.append(
            {
                "type": kind.name,
                "known": known(kind).value,
                "available": answer.value,
                "evidence": str(answer.evidence),
                "note": answer.note,
            }
        )
    return rows


def _all_types() -> frozenset[Any]:
    from holdfast.terms import ProgramType

    return frozenset(ProgramType) - {ProgramType.UNSPEC}


def _types_there(kernel: KernelFacts) -> frozenset[Any]:
    """Program types that this kernel may have: what nobody can load, nobody calls from."""
    return frozenset(kind for kind in _all_types() if kernel.program_type(kind).value is not False)


def _names(kinds: Iterable[Any]) -> list[str]:
    return [kind.name for kind in sorted(kinds)]


# -- text ---------------------------------------------------------------------------------------------------

_WORDS = {True: "yes", False: "no", None: "unknown"}


def _print(result: dict[str, Any]) -> None:
    say(result["id"])
    if "arch" in result:
        _print_summary(result)
    for key in ("program_types", "map_types"):
        if key in result:
            say()
            say(key.replace("_", " "))
            for row in result[key]:
                _print_row(f"  {row['type']:<24} {_WORDS[row['available']]:<8} ", row["note"])
    for key, value in result.items():
        if key.replace("_", "-") in _SURFACE:
            for row in value or ():
                _print_row(f"  {row['name']}  ", row["says"] or "")
            if value is None:
                say("  unknown")
    if "arch" not in result:
        for row in result.get("helpers") or ():
            _print_callers(f"{row['number']} {row['name']}", row)
        for row in result.get("kfuncs") or ():
            module = f"  [module {row['module']}]" if row["module"] else ""
            _print_callers(row["name"] + module, row, row["prototype"])


def _print_summary(result: dict[str, Any]) -> None:
    modules = result["modules"]
    rows = {
        "arch": result["arch"] or "unknown",
        "BTF types": result["btf_types"],
        "modules": "unknown"
        if modules is None
        else f"{len(modules)}, {len(result['modules_with_btf'])} with BTF",
        "config": "unknown"
        if result["config_options"] is None
        else f"{result['config_options']} options set",
        "kfuncs": result["kfuncs"] or "unknown (no tags in BTF)",
        "helpers": result["helpers"],
    }
    host = result["host"]
    if host:
        rows |= {
            "capabilities": " ".join(host["capabilities"]) or "none",
            "unprivileged bpf": {0: "allowed"}.get(host["unprivileged_bpf_disabled"], "disabled"),
            "lockdown": host["lockdown"] or "unknown",
            "security modules": " ".join(host["lsms"] or ()) or "unknown",
        }
    features = result["insn_features"]
    if features:
        rows["instructions"] = (
            " ".join(name for name, value in sorted(features.items()) if value) or "not probed"
        )
    for key, value in rows.items():
        _print_row(f"  {key:<18} ", str(value))


def _print_callers(title: str, row: dict[str, Any], prototype: str = "") -> None:
    say()
    say(title)
    if prototype:
        _print_row("  ", prototype)
    types = row["program_types"]
    narrowed = " (a filter admits fewer)" if row.get("narrowed") else ""
    _print_row(
        "  from: ", "unknown" if types is None else (" ".join(types) or "none that was asked") + narrowed
    )
    if types is not None and row["program_types_undecided"]:
        _print_row("  unknown: ", " ".join(row["program_types_undecided"]))


def _print_row(head: str, text: str) -> None:
    width = text_width()
    rest = " " * min(len(head), width * 2 // 5)  # of a narrow terminal some room is left beside the head
    rows = textwrap.wrap(text, width, initial_indent=head, subsequent_indent=rest)
    for line in rows or [head.rstrip()]:
        say(line)
