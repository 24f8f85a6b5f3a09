# SPDX-License-Identifier: Apache-2.0
"""Whole images that were made up: from bytes to rows."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

import pytest
from tests.btfwriter import BtfWriter
from tests.x86code import UNDEFINED, Code, Image, Module, set8

from holdfast.btf import Btf
from holdfast.errors import KernelFileError
from holdfast.kernels.registered import Result, Role, read
from holdfast.terms import Evidence, ProgramType

TEXT = 0xFFFFFFFF81000000
INIT = 0xFFFFFFFF83000000
RODATA = 0xFFFFFFFF82000000
IDS = 0xFFFFFFFF82800000
KSYMTAB = 0xFFFFFFFF82900000
REGISTER, INNER, FMOD_RET, FILTER = TEXT, TEXT + 0x100, TEXT + 0x200, TEXT + 0x300
HOOKS = ("COMMON", "XDP", "TC", "STRUCT_OPS", "TRACING", "SYSCALL", "FMODRET", "CGROUP", "MAX")
TABLE = {
    ProgramType.UNSPEC: 0,
    ProgramType.XDP: 1,
    ProgramType.SCHED_CLS: 2,
    ProgramType.STRUCT_OPS: 3,
    ProgramType.TRACING: 4,
    ProgramType.LSM: 4,
    ProgramType.SYSCALL: 5,
    ProgramType.CGROUP_SKB: 7,
    ProgramType.SOCK_OPS: 7,
}
FUNCTIONS = ("bpf_a", "bpf_b", "bpf_c", "bpf_d", "bpf_modify_return_test")
XDP, TC, STRUCT_OPS, TRACING, SYSCALL = (
    ProgramType[name].value for name in ("XDP", "SCHED_CLS", "STRUCT_OPS", "TRACING", "SYSCALL")
)


def kernel_btf(*members: str, functions: tuple[str, ...] = FUNCTIONS) -> tuple[Btf, dict[str, int]]:
    """BTF with the struct of a set's registration, the hooks, and functions by their ids."""
    writer = BtfWriter()
    writer.integer()
    pointer = writer.ptr(0)
    writer.struct("btf_kfunc_id_set", 24, *((name, pointer, 64 * at) for at, name in enumerate(members)))
    writer.enum("btf_kfunc_hook", *((f"BTF_KFUNC_HOOK_{name}", at) for at, name in enumerate(HOOKS)))
    writer.enum("bpf_prog_type", *((f"BPF_PROG_TYPE_{t.name}", t.value) for t in ProgramType))
    proto = writer.proto(0)
    ids = {name: writer.func(name, proto) for name in functions}
    return writer.btf(), ids


MEMBERS = ("owner", "set", "filter")


@dataclass
class Kernel:
    """A kernel with sets and calls. ``header`` is that of its sets."""

    header: int = 1
    inlined: bool = False
    members: tuple[str, ...] = MEMBERS
    sets: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    ksets: dict[str, int] = field(default_factory=dict)
    _ids: bytearray = field(default_factory=bytearray)
    _ksets: bytearray = field(default_factory=bytearray)

    def __post_init__(self) -> None:
        self.btf, self.numbers = kernel_btf(*self.members)
        self.init = Code(INIT)

    def set(self, name: str, header: int | None = None, **flags: int) -> None:
        pairs = sorted((self.numbers[function], bits) for function, bits in flags.items())
        data = set8(self.header if header is None else header, *pairs)
        self.sets[name] = IDS + len(self._ids), data
        self._ids += data

    def kset(self, name: str, of: str, *, filtered: bool = False) -> int:
        at = self.ksets[name] = RODATA + 0x1000 + len(self._ksets)
        words = {"owner": 0, "set": self.sets[of][0], "filter": FILTER if filtered else 0}
        self._ksets += struct.pack("<3Q", *(words[m] for m in self.members), *[0] * (3 - len(self.members)))
        return at

    def register(self, kset: str, *types: int) -> None:
        for number in types:
            self.init.address("esi", self.ksets[kset]).mov("edi", number).call(REGISTER)

    def image(self, machine: int = 62) -> Image:
        text = {
            REGISTER: self._register(),
            INNER: Code(INNER).ret(),
            FMOD_RET: Code(FMOD_RET).ret(),
            FILTER: Code(FILTER).ret(),
        }
        code = bytearray(0x400)
        for at, one in text.items():
            code[at - TEXT : at - TEXT + len(one.bytes())] = one.bytes()
        image = Image(machine)
        image.section(".text", TEXT, bytes(code), code=True)
        table = bytes(TABLE.get(t, HOOKS.index("MAX")) for t in ProgramType)
        image.section(".rodata", RODATA, table.ljust(0x1000, b"\0") + bytes(self._ksets))
        if self._ids:
            image.section(".BTF_ids", IDS, bytes(self._ids))
        image.export(
            KSYMTAB, ("register_btf_kfunc_id_set", REGISTER), ("register_btf_fmodret_id_set", FMOD_RET)
        )
        image.section(".init.text", INIT, self.init.ret().bytes(), code=True)
        image.symbols = [
            ("register_btf_kfunc_id_set", REGISTER),
            ("a_filter", FILTER),
            ("init", INIT),
            ("end", self.init.here),
        ]
        if not self.inlined:
            image.symbols.append(("__register_btf_kfunc_id_set", INNER))
        for name, (at, _) in self.sets.items():
            image.symbols += [(name, at), (f"__BTF_ID__set8__{name}", at)]
        return image

    def _register(self) -> Code:
        code = Code(REGISTER).raw(f"83ff{max(TABLE):02x}").raw("0f8700000000")  # cmp $last,%edi; ja out
        jump = len(code.data)
        code.raw("0fb687").raw(struct.pack("<I", RODATA & 0xFFFFFFFF).hex())  # movzbl table(%rdi),%eax
        if self.inlined:
            code.raw("83f808").ret()  # cmp $BTF_KFUNC_HOOK_MAX,%eax
            code.data[jump - 4 : jump] = struct.pack("<I", len(code.data) - jump)
            return code.ret()
        code.copy("edi", "eax", wide=False).jmp(INNER)
        code.data[jump - 4 : jump] = struct.pack("<I", len(code.data) - jump)
        return code.mov("edi", HOOKS.index("MAX")).jmp(INNER)

    def read(self, *, stripped: bool = False, machine: int = 62, **more: object) -> Result:
        data = self.image(machine).bytes(stripped=stripped)
        return read(data, self.btf, arch="x86_64", symbols=None, **more)  # type: ignore[arg-type]


def types(*names: str) -> frozenset[ProgramType]:
    return frozenset(ProgramType[name] for name in names)


def test_flags_types_filter_and_evidence() -> None:
    kernel = Kernel()
    kernel.set("first_ids", bpf_a=0b101, bpf_b=0)
    kernel.set("second_ids", bpf_c=1 << 5)
    kernel.kset("first", "first_ids")
    kernel.kset("second", "second_ids", filtered=True)
    kernel.register("first", TRACING, XDP)
    kernel.register("second", SYSCALL)
    result = kernel.read()
    assert result.notes == () and result.registrations is not None
    a, c = result.registrations["bpf_a"], result.registrations["bpf_c"]
    assert (a.flags, a.program_types) == (frozenset({"ACQUIRE", "RET_NULL"}), types("TRACING", "LSM", "XDP"))
    assert (a.narrowed, a.by_type, a.module) == (False, None, None)
    assert a.evidence == (Evidence.BTF_IDS, Evidence.INIT_CODE)
    assert result.registrations["bpf_b"].flags == frozenset()
    assert (c.flags, c.program_types, c.narrowed) == (frozenset({"SLEEPABLE"}), types("SYSCALL"), True)
    assert result.filters == {"bpf_c": {ProgramType.SYSCALL: ("a_filter",)}}
    assert [(one.name, one.role) for one in result.sets] == [
        ("first_ids", Role.KFUNC),
        ("second_ids", Role.KFUNC),
    ]


@pytest.mark.parametrize("inlined", [False, True])
def test_the_table_of_hooks_is_read_off_the_code(inlined: bool) -> None:
    kernel = Kernel(inlined=inlined)
    result = kernel.read()
    assert result.hooks == {t: HOOKS[number] for t, number in TABLE.items()}
    assert result.hooks_evidence is Evidence.INIT_CODE


def test_where_the_code_does_not_tell_hooks_only_what_is_beyond_doubt_is_said() -> None:
    kernel = Kernel(inlined=True)
    kernel.set("ids", bpf_a=0)
    kernel.set("more_ids", bpf_b=0)
    kernel.set("every_ids", bpf_c=0)
    for name in ("ids", "more_ids", "every_ids"):
        kernel.kset(name.replace("ids", "set"), name)
    kernel.register("set", TRACING, XDP)
    kernel.register("more_set", XDP, SYSCALL)
    kernel.register("every_set", 0)
    image = kernel.image()
    image.sections = [
        (name, at, b"\xc3" + data[1:] if name == ".text" else data, flags)
        for name, at, data, flags in image.sections
    ]
    result = read(image.bytes(), kernel.btf, arch="x86_64", symbols=None)
    assert result.hooks_evidence is Evidence.RULE and result.registrations is not None
    assert result.registrations["bpf_a"].program_types is None
    assert result.registrations["bpf_b"].program_types == types("XDP", "SYSCALL")
    assert Evidence.RULE in result.registrations["bpf_b"].evidence
    assert ProgramType.SK_LOOKUP in (result.registrations["bpf_c"].program_types or ())


def test_common_admits_every_type() -> None:
    kernel = Kernel()
    kernel.set("ids", bpf_a=0)
    kernel.kset("set", "ids")
    kernel.register("set", 0)
    registrations = kernel.read().registrations
    assert registrations is not None
    assert registrations["bpf_a"].program_types == frozenset(ProgramType) - types("UNSPEC")


def test_sets_that_differ_give_flags_by_type() -> None:
    kernel = Kernel()
    kernel.set("ops_ids", bpf_a=1 | 1 << 5)
    kernel.set("call_ids", bpf_a=1)
    kernel.kset("ops", "ops_ids")
    kernel.kset("call", "call_ids", filtered=True)
    kernel.register("ops", STRUCT_OPS)
    kernel.register("call", SYSCALL)
    result = kernel.read()
    assert result.registrations is not None
    a = result.registrations["bpf_a"]
    assert a.flags == frozenset({"ACQUIRE"})
    assert a.by_type == {
        ProgramType.STRUCT_OPS: frozenset({"ACQUIRE", "SLEEPABLE"}),
        ProgramType.SYSCALL: frozenset({"ACQUIRE"}),
    }
    # a filter of one hook is not run for another's types
    assert result.filters == {"bpf_a": {ProgramType.SYSCALL: ("a_filter",)}}


def test_two_rows_in_one_hook_that_differ_are_unknown() -> None:
    kernel = Kernel()
    kernel.set("one_ids", bpf_a=1)
    kernel.set("two_ids", bpf_a=2)
    kernel.kset("one", "one_ids")
    kernel.kset("two", "two_ids")
    kernel.register("one", TRACING)
    kernel.register("two", TRACING)
    result = kernel.read()
    assert result.registrations is not None
    assert (result.registrations["bpf_a"].flags, result.registrations["bpf_a"].by_type) == (None, None)
    assert result.notes == ("bpf_a is in two sets of one hook with different flags",)


def test_targets_of_fmod_ret_are_no_kfuncs() -> None:
    kernel = Kernel()
    kernel.set("hook_ids", bpf_a=0)
    at = kernel.kset("hooks", "hook_ids")
    kernel.init.address("edi", at).call(FMOD_RET)
    result = kernel.read()
    assert result.registrations == {}
    assert [one.role for one in result.sets] == [Role.FMOD_RET]


def test_a_set_that_nothing_registers() -> None:
    kernel = Kernel()
    kernel.set("idle_ids", bpf_a=0, bpf_b=0)
    kernel.set("ids", bpf_a=1)
    kernel.kset("set", "ids")
    kernel.register("set", XDP)
    result = kernel.read()
    assert result.registrations is not None
    assert result.registrations["bpf_a"].program_types == types("XDP")
    assert result.registrations["bpf_a"].flags == frozenset({"ACQUIRE"})
    assert result.registrations["bpf_b"].program_types is None
    assert [one.role for one in result.sets] == [Role.UNREGISTERED, Role.KFUNC]


def test_a_call_that_is_not_resolved_makes_all_types_unknown() -> None:
    kernel = Kernel()
    kernel.set("ids", bpf_a=0)
    kernel.kset("set", "ids")
    kernel.register("set", XDP)
    kernel.init.copy("esi", "ebx").mov("edi", TC).call(REGISTER)
    result = kernel.read()
    assert result.registrations is not None
    assert result.registrations["bpf_a"].program_types is None
    assert result.registrations["bpf_a"].evidence == (Evidence.BTF_IDS,)
    assert result.notes == ("init registers a set that its code does not name",)


def test_a_type_that_is_not_resolved_makes_those_of_its_set_unknown() -> None:
    kernel = Kernel()
    kernel.set("ids", bpf_a=0)
    kernel.set("more_ids", bpf_b=0)
    kernel.kset("set", "ids")
    kernel.kset("more", "more_ids")
    kernel.register("more", XDP)
    kernel.init.address("esi", kernel.ksets["set"]).copy("edi", "ebx").call(REGISTER)
    registrations = kernel.read().registrations
    assert registrations is not None
    assert registrations["bpf_a"].program_types is None
    assert registrations["bpf_b"].program_types == types("XDP")


def test_headers_tell_kfunc_sets_since_6_9() -> None:
    kernel = Kernel()
    kernel.set("ids", bpf_a=0)
    kernel.set("refused_ids", header=0, bpf_b=0)
    for name in ("ids", "refused_ids"):
        kernel.kset(f"{name}_set", name)
        kernel.register(f"{name}_set", XDP)
    registrations = kernel.read().registrations
    assert registrations is not None and set(registrations) == {"bpf_a"}


def test_before_6_9_only_the_code_tells() -> None:
    kernel = Kernel(header=0, members=("owner", "set"))
    kernel.set("ids", bpf_a=1 << 3)
    kernel.set("other_ids", bpf_b=0)
    kernel.kset("set", "ids")
    kernel.register("set", TC)
    registrations = kernel.read().registrations
    assert registrations is not None and set(registrations) == {"bpf_a"}
    assert registrations["bpf_a"].flags == frozenset({"KPTR_GET"})


def test_a_flag_that_nobody_knows() -> None:
    kernel = Kernel()
    kernel.set("ids", bpf_a=1 << 30, bpf_b=1)
    kernel.kset("set", "ids")
    kernel.register("set", XDP)
    result = kernel.read()
    assert result.registrations is not None
    assert result.registrations["bpf_a"].flags is None
    assert result.registrations["bpf_a"].program_types == types("XDP")
    assert result.registrations["bpf_b"].flags == frozenset({"ACQUIRE"})


@pytest.mark.parametrize("stripped", [True, False])
def test_other_machines_tell_names_and_flags(stripped: bool) -> None:
    kernel = Kernel()
    kernel.set("ids", bpf_a=1, bpf_b=1 << 5)
    kernel.set("test_ids", bpf_modify_return_test=0)
    result = kernel.read(stripped=stripped, machine=183)
    assert result.registrations is not None
    assert {name: row.flags for name, row in result.registrations.items()} == {
        "bpf_a": frozenset({"ACQUIRE"}),
        "bpf_b": frozenset({"SLEEPABLE"}),
    }
    assert all(row.program_types is None for row in result.registrations.values())
    assert result.notes == ("code of x86_64 is not read, so program types are not known",)


def test_a_stripped_kernel_without_symbols_tells_names_and_flags() -> None:
    kernel = Kernel()
    kernel.set("ids", bpf_a=1, bpf_b=1 << 5)
    kernel.kset("set", "ids")
    kernel.register("set", XDP)
    result = kernel.read(stripped=True)
    assert result.registrations is not None
    assert set(result.registrations) == {"bpf_a", "bpf_b"}
    assert result.registrations["bpf_a"].program_types is None


def test_a_flat_image_tells_names_and_flags() -> None:
    btf, numbers = kernel_btf(*MEMBERS)
    data = bytes(64) + set8(1, (numbers["bpf_a"], 1), (numbers["bpf_c"], 0)) + bytes(64)
    result = read(data, btf, arch="aarch64", symbols=None)
    assert result.registrations is not None
    assert {name: row.flags for name, row in result.registrations.items()} == {
        "bpf_a": frozenset({"ACQUIRE"}),
        "bpf_c": frozenset(),
    }


def test_kernels_before_6_0() -> None:
    writer = BtfWriter()
    writer.integer()
    pointer = writer.ptr(0)
    writer.struct("bpf_verifier_ops", 8, ("get_func_proto", pointer, 0))
    none = read(b"", writer.btf(), arch="x86_64", symbols=None)
    assert none.registrations == {} and "no kfuncs" in none.notes[0]

    writer = BtfWriter()
    writer.integer()
    pointer = writer.ptr(0)
    writer.struct("bpf_verifier_ops", 8, ("check_kfunc_call", pointer, 0))
    assert read(b"", writer.btf(), arch="x86_64", symbols=None).registrations is None

    early, _ = kernel_btf("owner", "check_set", "acquire_set")
    assert read(b"", early, arch="x86_64", symbols=None).registrations is None
    nothing = BtfWriter()
    nothing.integer()
    assert read(b"", nothing.btf(), arch="x86_64", symbols=None).registrations is None


def test_damaged_images_are_refused() -> None:
    kernel = Kernel()
    kernel.set("ids", bpf_a=1)
    kernel.kset("set", "ids")
    kernel.register("set", XDP)
    data = kernel.image().bytes()
    for size in range(4, len(data), 97):
        with pytest.raises(KernelFileError):
            read(data[:size], kernel.btf, arch="x86_64", symbols=None)


def test_no_byte_that_is_wrong_does_worse_than_an_error() -> None:
    kernel = Kernel()
    kernel.set("ids", bpf_a=1)
    kernel.kset("set", "ids")
    kernel.register("set", XDP)
    data = kernel.image().bytes()
    for at in range(0, len(data), 307):
        broken = data[:at] + b"\xff\xff\xff\x7f" + data[at + 4 :]
        try:
            read(broken, kernel.btf, arch="x86_64", symbols=None)
        except KernelFileError:
            pass


R_64, R_PC32, R_PLT32, R_32S = 1, 2, 4, 11


def module_of(kernel: Kernel, *, distilled: bool = False) -> tuple[bytes, Btf]:
    """A module with one set, registered for SCHED_CLS and, by way of a register, XDP."""
    base = kernel.btf
    if distilled:
        small = BtfWriter()
        small.integer()
        base = small.btf()
    own = BtfWriter(base=base)
    function = own.func("mod_kfunc", own.proto(0))
    code = Code(0).push("ebx").address("ebx", 0).copy("esi", "ebx").mov("edi", TC).raw("e800000000")
    code.lea("esi", 0).mov("edi", XDP).raw("e800000000").pop("ebx").ret()
    module = Module()
    text = module.section(".init.text", code.bytes(), code=True)
    ids = module.section(".BTF_ids", set8(1, (function, 1 << 2)))
    data = module.section(".data", bytes(24), writable=True)
    module.section(".BTF", own.raw())
    if distilled:
        module.section(".BTF.base", small.raw())
    module.symbols = [
        ("init_module", text, 0),
        ("mod_ids", ids, 0),
        ("__BTF_ID__set8__mod_ids", ids, 0),
        ("mod_set", data, 0),
        ("register_btf_kfunc_id_set", UNDEFINED, 0),
    ]
    module.relocate(text, 4, R_32S, "mod_set")
    calls = [at + 1 for at, byte in enumerate(code.bytes()) if code.bytes()[at : at + 5] == b"\xe8\0\0\0\0"]
    for at in calls:
        module.relocate(text, at, R_PLT32, "register_btf_kfunc_id_set", -4)
    module.relocate(text, code.bytes().index(b"\x48\x8d\x35") + 3, R_PC32, "mod_set", -4)
    module.relocate(data, 8, R_64, "mod_ids")
    return module.bytes(), own.btf()


@pytest.mark.parametrize("distilled", [False, True])
def test_modules(distilled: bool) -> None:
    kernel = Kernel()
    kernel.set("ids", bpf_a=1)
    kernel.kset("set", "ids")
    kernel.register("set", XDP)
    data, btf = module_of(kernel, distilled=distilled)
    result = kernel.read(modules=[("mod", data, btf), ("empty", b"no set", btf)])
    assert result.notes == () and result.registrations is not None
    row = result.registrations["mod_kfunc"]
    assert (row.module, row.program_types) == ("mod", types("SCHED_CLS", "XDP"))
    assert row.flags == frozenset({"RET_NULL"})
    assert [(one.name, one.module) for one in result.sets] == [("ids", None), ("mod_ids", "mod")]


def test_a_damaged_module_is_a_note() -> None:
    kernel = Kernel()
    kernel.set("ids", bpf_a=1)
    kernel.kset("set", "ids")
    kernel.register("set", XDP)
    data, btf = module_of(kernel)
    for size in range(64, len(data), 53):
        result = kernel.read(modules=[("mod", data[:size], btf)])
        assert result.registrations is not None and "bpf_a" in result.registrations
        if b".BTF_ids" in data[:size]:
            assert [note[:11] for note in result.notes] == ["module mod:"]


def test_one_name_in_two_images_is_told() -> None:
    kernel = Kernel()
    kernel.set("ids", bpf_a=1)
    kernel.kset("set", "ids")
    kernel.register("set", XDP)
    data, btf = module_of(kernel)
    result = kernel.read(modules=[("mod", data, btf), ("twin", data, btf)])
    assert result.registrations is not None
    assert result.registrations["mod_kfunc"].module == "mod"
    assert result.notes == ("mod_kfunc is in sets of module mod and module twin",)
