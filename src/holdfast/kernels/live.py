# SPDX-License-Identifier: Apache-2.0
"""Facts of the running kernel: /sys/kernel/btf, config, modules, policy, and on request probes.

With a warm cache this takes some 10 ms. What a cached file depends on is in its name. For an index that is
the BTF itself. For probe answers it is everything that can change one without a new kernel: the boot, the BTF
of vmlinux, each loaded module (one that was loaded again has a new inode in /sys), the capabilities and user
namespace of this process, its security context and seccomp mode, sysctls, lockdown and the active security
modules.
"""

from __future__ import annotations

import os
import re
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from holdfast import sys
from holdfast._version import __version__
from holdfast.btf import Btf
from holdfast.errors import KernelAccessError
from holdfast.kernels import kconfig
from holdfast.kernels.cache import Cache, digest, folder
from holdfast.kernels.facts import Kallsyms, KernelFacts
from holdfast.kernels.host import HostFacts
from holdfast.kernels.probed import Wanted
from holdfast.kernels.upstream import upstream_version

__all__ = ["ask", "facts", "host"]

_BTF: Final = Path("/sys/kernel/btf")
_PROC: Final = Path("/proc")
_SECURITY: Final = Path("/sys/kernel/security")


def facts(probe: Wanted | None = None, *, cache: Cache | None = None) -> KernelFacts:
    """What the running kernel offers to this process, id ``live/<release>``.

    ``probe`` is what to ask by trial (see :func:`ask`); without it nothing is loaded. ``cache`` is
    :func:`~holdfast.kernels.cache.folder` unless given. Raises :exc:`~holdfast.errors.KernelAccessError` for
    a kernel without BTF.
    """
    cache = cache if cache is not None else Cache(folder())
    release, arch = os.uname().release, os.uname().machine
    data = _read_vmlinux()
    build = _build(data)
    vmlinux = cache.btf(data, build, origin=str(_BTF / "vmlinux"))
    names = _module_names()
    found = KernelFacts(
        id=f"live/{release}",
        release=release,
        arch=arch,
        source="live",
        vmlinux=vmlinux,
        modules=_Modules(names or (), vmlinux, build, cache),
        module_names=None if names is None else frozenset(names),
        config=_config(release),
        host=host(),
        kallsyms=_kallsyms(),
        upstream=upstream_version(os.uname().version, _text(_PROC / "version_signature")),
    )
    return found if probe is None else ask(found, probe, cache=cache)


def ask(kernel: KernelFacts, wanted: Wanted, *, cache: Cache | None = None) -> KernelFacts:
    """The same facts with the answers to ``wanted``, from the cache or asked now by trial.

    ``kernel`` is from :func:`facts` of this process. Without CAP_BPF the answers are None and
    ``probes.obstacle`` says why.
    """
    from holdfast.kernels.probe_store import ProbeStore

    assert kernel.vmlinux is not None and kernel.host is not None, "facts() of the running kernel"
    cache = cache if cache is not None else Cache(folder())
    data = bytes(kernel.vmlinux.data)
    around = _surroundings(kernel.host)
    name = digest("probes", __version__, _build(data), str(zlib.crc32(data)), around) + ".probes"
    content = cache.get(name)
    store = ProbeStore(bytes(content) if content is not None else b"")
    known = store.answers(wanted)
    missing = known.missing(wanted)
    if missing == Wanted():
        return kernel.with_probes(known)
    from holdfast.kernels.probe import probe

    asked = probe(missing, kernel.vmlinux, kernel.modules)
    if asked.decided:
        store.add(asked)
        cache.put(name, store.to_bytes())
    return kernel.with_probes(known | asked)


def _build(data: bytes) -> str:
    """What tells this build of the kernel: its build id, or else all of its BTF."""
    notes = _bytes("/sys/kernel/notes") or digest(data)
    return digest("vmlinux", os.uname().machine, notes, str(len(data)))


def host() -> HostFacts:
    """Capabilities of the calling thread, sysctls, lockdown and active security modules."""
    level = sys.lockdown()
    lsms = _text(_SECURITY / "lsm")
    jit = _text(_PROC / "sys/net/core/bpf_jit_enable")
    return HostFacts(
        capabilities=sys.capabilities(),
        initial_user_namespace=sys.in_initial_user_namespace(),
        unprivileged_bpf_disabled=sys.unprivileged_bpf_disabled(),
        bpf_jit_enable=int(jit) if jit and jit.isdigit() else None,
        lockdown=level.value if level else None,
        lsms=tuple(lsms.split(",")) if lsms else None,
    )


# -- BTF -------------------------------------------------------------------------------------------


def _read_vmlinux() -> bytes:
    path = _BTF / "vmlinux"
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise KernelAccessError(
            f"the running kernel shows no BTF: {path} does not exist",
            hint="it needs a kernel built with CONFIG_DEBUG_INFO_BTF=y (and /sys mounted, in a container)",
        ) from None
    except OSError as error:
        raise KernelAccessError(
            f"the running kernel's BTF cannot be read: {path}: {error.strerror}",
            hint="everybody may read it by default; look at the permissions of /sys in this container",
        ) from None


class _Modules(Mapping[str, Btf]):
    """BTF of the loaded modules by name, in load order, each read when it is first asked for."""

    def __init__(self, names: tuple[str, ...], vmlinux: Btf, build: str, cache: Cache) -> None:
        # A module without BTF of its own has no file here.
        self._names = dict.fromkeys(name for name in names if (_BTF / name).exists())
        self._vmlinux, self._build, self._cache = vmlinux, build, cache
        self._read: dict[str, Btf] = {}

    def __getitem__(self, name: str) -> Btf:
        if name not in self._names:
            raise KeyError(name)
        if name not in self._read:
            path = _BTF / name
            try:
                data = path.read_bytes()
            except OSError as error:
                raise KernelAccessError(
                    f"the BTF of module {name} cannot be read: {path}: {error.strerror}",
                    hint="a module that was unloaded meanwhile has none: try again",
                ) from None
            build = digest("module", self._build, data)
            self._read[name] = self._cache.btf(data, build, base=self._vmlinux, origin=str(path))
        return self._read[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def _module_names() -> tuple[str, ...] | None:
    """All loaded modules in load order; none at all for a kernel without modules, None when unreadable."""
    try:
        text = (_PROC / "modules").read_text()
    except FileNotFoundError:
        return () if (_PROC / "version").exists() else None
    except OSError:
        return None
    # The kernel lists the newest first.
    return tuple(reversed([line.split(" ", 1)[0] for line in text.splitlines()]))


# -- config and kallsyms ---------------------------------------------------------------------------


def _config(release: str) -> Mapping[str, str] | None:
    candidates = (
        _PROC / "config.gz",
        Path(f"/boot/config-{release}"),
        Path(f"/lib/modules/{release}/config"),
        Path(f"/usr/lib/kernel/config-{release}"),
    )
    for path in candidates:
        if os.access(path, os.R_OK):
            return kconfig.LazyConfig(lambda path=path: _read_config(path))  # type: ignore[misc]
    return None


def _read_config(path: Path) -> dict[str, str]:
    try:
        data = path.read_bytes()
        return kconfig.parse(kconfig.gunzip(data) if data[:2] == b"\x1f\x8b" else data.decode())
    except (OSError, ValueError) as error:
        raise KernelAccessError(
            f"the running kernel's config cannot be read: {path}: {error}",
            hint="remove or repair the file; without one, the config counts as unknown",
        ) from None


def _kallsyms() -> Kallsyms:
    read: list[bytes] = []
    known: dict[str, list[int]] = {}  # from the text that was read once: a look-up goes through megabytes

    def addresses(name: str) -> list[int] | None:
        if not read:
            read.append(_bytes(_PROC / "kallsyms"))
        if not read[0]:
            return None
        if name not in known:
            wanted = re.escape(name.encode())
            # "address type name [\tmodule]"; Clang's LTO adds .llvm.<hash> to local data (libbpf 1.0
            # skips it)
            line = re.compile(
                rb"^([0-9a-f]+) (?:\S " + wanted + rb"|d " + wanted + rb"\.llvm\.\S*)(?:\t|$)", re.MULTILINE
            )
            known[name] = [int(found, 16) for found in _near(read[0], name.encode(), line)]
        return list(known[name])

    return addresses


def _near(text: bytes, name: bytes, line: re.Pattern[bytes]) -> Iterator[bytes]:
    """First groups of ``line`` on the lines with ``name``: find() is 100 times faster than the pattern."""
    at = text.find(b" " + name)
    while at >= 0:
        start = text.rfind(b"\n", 0, at) + 1
        end = text.find(b"\n", at)
        found = line.match(text[start : end if end >= 0 else len(text)])
        if found:
            yield found[1]
        at = text.find(b" " + name, at + 1)


# -- probes ----------------------------------------------------------------------------------------


def _surroundings(policy: HostFacts) -> str:
    """Everything around a process that can change the answer of a probe while one kernel runs."""
    status = _text(_PROC / "thread-self/status")
    seccomp = [line for line in status.splitlines() if line.startswith(("Seccomp", "NoNewPrivs"))]
    modules = []
    if _BTF.is_dir():
        with os.scandir(_BTF) as entries:
            modules = sorted((entry.name, entry.inode()) for entry in entries)
    parts = (
        _text(_PROC / "sys/kernel/random/boot_id"),
        sorted(policy.capabilities),
        policy.initial_user_namespace,
        policy.unprivileged_bpf_disabled,
        policy.bpf_jit_enable,
        _text(_PROC / "sys/net/core/bpf_jit_harden"),
        policy.lockdown,
        policy.lsms,
        _text(_PROC / "thread-self/attr/current"),
        seccomp,
        modules,
        # Modules without BTF have no file above; they can still bring struct_ops or hooks.
        sorted(line.split(" ", 1)[0] for line in _text(_PROC / "modules").splitlines()),
    )
    return repr(parts)


def _text(path: Path) -> str:
    try:
        return path.read_text().strip("\0\n ")
    except (OSError, ValueError):
        return ""


def _bytes(path: str | Path) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError:
        return b""
