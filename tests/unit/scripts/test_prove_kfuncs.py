# SPDX-License-Identifier: Apache-2.0
"""Kfuncs out of the source of a made-up kernel, and what is said of claims that differ from them."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[3]
sys.path.append(str(ROOT / "scripts"))  # the scripts import each other by name

from prove_kfuncs_compare import Claim, against_probe, against_source  # noqa: E402
from prove_kfuncs_cpp import Config, ReadError  # noqa: E402
from prove_kfuncs_kbuild import Kbuild  # noqa: E402
from prove_kfuncs_source import Source, read  # noqa: E402

HEADER = """
#define KF_ACQUIRE (1 << 0) /* a reference */
#define KF_RET_NULL (1 << 2)
#define KF_SLEEPABLE (1 << 5)
#define KF_IMPLICIT_ARGS (1 << 16)
struct btf_kfunc_id_set { void *owner; };
"""
UAPI = """
enum bpf_prog_type {
	BPF_PROG_TYPE_UNSPEC, BPF_PROG_TYPE_XDP, BPF_PROG_TYPE_TRACING, BPF_PROG_TYPE_LSM,
	BPF_PROG_TYPE_SYSCALL, BPF_PROG_TYPE_SK_MSG, BPF_PROG_TYPE_EXT,
	__MAX_BPF_PROG_TYPE
};
"""
HOOKS = """
static int bpf_prog_type_to_kfunc_hook(enum bpf_prog_type prog_type)
{
	switch (prog_type) {
	case BPF_PROG_TYPE_UNSPEC:
		return BTF_KFUNC_HOOK_COMMON;
	case BPF_PROG_TYPE_XDP:
		return BTF_KFUNC_HOOK_XDP;
	case BPF_PROG_TYPE_TRACING:
	case BPF_PROG_TYPE_LSM:
		return BTF_KFUNC_HOOK_TRACING;
	case BPF_PROG_TYPE_SYSCALL:
		return BTF_KFUNC_HOOK_SYSCALL;
	default:
		return BTF_KFUNC_HOOK_MAX;
	}
}
int register_btf_kfunc_id_set(enum bpf_prog_type prog_type, const struct btf_kfunc_id_set *kset) { return 0; }
"""
HELPERS = """
#include <linux/extra.h>
__bpf_kfunc_start_defs();
/* bpf_gone(void) { */
__bpf_kfunc struct task_struct *bpf_one(struct task_struct *p, const struct bpf_prog_aux *aux)
{ return p; }
__bpf_kfunc int bpf_two(u64 flags) { if (flags) { return 1; } return 0; }
#if IS_ENABLED(CONFIG_CGROUPS)
__bpf_kfunc void bpf_cgroup(void) { }
#endif
__bpf_kfunc void bpf_everywhere(char *s__ign, u32 s__sz) { }
__bpf_kfunc int bpf_meta_a(void) { return 0; }
__bpf_kfunc int bpf_meta_b(void) { return 0; }
__bpf_kfunc_end_defs();

BTF_KFUNCS_START(generic_ids)
BTF_ID_FLAGS(func, bpf_one, KF_ACQUIRE | KF_RET_NULL | \\
	KF_IMPLICIT_ARGS)
#if IS_ENABLED(CONFIG_CGROUPS) && !defined(CONFIG_OTHER)
BTF_ID_FLAGS(func, bpf_cgroup);
#else
BTF_ID_FLAGS(func, bpf_not_here, KF_NONSENSE)
#endif
BTF_ID_FLAGS(func, bpf_two, KF_BOTH)
BTF_KFUNCS_END(generic_ids)
static const struct btf_kfunc_id_set generic_set = { .owner = THIS_MODULE, .set = &generic_ids };

BTF_KFUNCS_START(common_ids)
BTF_ID_FLAGS(func, bpf_everywhere)
BTF_KFUNCS_END(common_ids)
static const struct btf_kfunc_id_set common_set = { .set = &common_ids, };

BTF_KFUNCS_START(meta_ids)
#define META(_, name) BTF_ID_FLAGS(func, name)
META_LIST
#undef META
BTF_KFUNCS_END(meta_ids)
static const struct btf_kfunc_id_set meta_set = {
	.set = &meta_ids,
	.filter = meta_filter,
};
BTF_KFUNCS_START(dead_ids)
BTF_ID_FLAGS(func, bpf_dead)
BTF_KFUNCS_END(dead_ids)
static const struct btf_kfunc_id_set dead_set = { .set = &dead_ids };
BTF_SET8_START(other_ids)
BTF_ID_FLAGS(func, bpf_probe_target, KF_SLEEPABLE)
BTF_SET8_END(other_ids)
static const struct btf_kfunc_id_set other_set = { .set = &other_ids };

static const enum bpf_prog_type types[] = { BPF_PROG_TYPE_XDP, BPF_PROG_TYPE_SYSCALL };

static int __init kfunc_init(void)
{
	int ret, i;

	ret = register_btf_kfunc_id_set(BPF_PROG_TYPE_TRACING, &generic_set);
	ret = ret ?: register_btf_kfunc_id_set(BPF_PROG_TYPE_UNSPEC, &common_set);
	for (i = 0; i < ARRAY_SIZE(types) && !ret; i++) {
		ret = register_btf_kfunc_id_set(types[i], &meta_set);
	}
	return ret ?: register_btf_fmodret_id_set(&other_set);
}
late_initcall(kfunc_init);

static int nobody_calls_me(void)
{
	return register_btf_kfunc_id_set(BPF_PROG_TYPE_XDP, &dead_set);
}
"""
EXTRA = """
#define KF_BOTH (KF_ACQUIRE | KF_SLEEPABLE)
#define META_LIST META(1, bpf_meta_a) \\
	META(2, bpf_meta_b)
"""
MODULE = """
__bpf_kfunc void bpf_in_module(void) { }
BTF_KFUNCS_START(module_ids)
BTF_ID_FLAGS(func, bpf_in_module)
BTF_KFUNCS_END(module_ids)
static const struct btf_kfunc_id_set module_set = { .set = &module_ids };
int register_it(void) { return register_btf_kfunc_id_set(BPF_PROG_TYPE_XDP, &module_set); }
"""
UNBUILT = MODULE.replace("module_", "off_").replace("bpf_in_module", "bpf_off")
PART = """
__bpf_kfunc void bpf_part(void) { }
BTF_KFUNCS_START(part_ids)
BTF_ID_FLAGS(func, bpf_part)
BTF_ID_FLAGS(func, bpf_two, KF_SLEEPABLE)
BTF_KFUNCS_END(part_ids)
static const struct btf_kfunc_id_set part_set = { .set = &part_ids };
static int part_init(void) { return register_btf_kfunc_id_set(BPF_PROG_TYPE_SYSCALL, &part_set); }
late_initcall(part_init);
"""
FILES = {
    "Kbuild": "obj-y += kernel/\nobj-$(CONFIG_NET)\t+= net/\n",
    "include/linux/btf.h": HEADER,
    "include/linux/extra.h": EXTRA,
    "include/uapi/linux/bpf.h": UAPI,
    "kernel/Makefile": "obj-$(CONFIG_BPF) += bpf/ # and more\nobj-y += sched/\n",
    "kernel/bpf/Makefile": "obj-$(CONFIG_BPF_SYSCALL) += helpers.o \\\n\tbtf.o\nobj-${CONFIG_OFF} += off.o\n",
    "kernel/bpf/btf.c": HOOKS,
    "kernel/bpf/helpers.c": HELPERS,
    "kernel/bpf/off.c": UNBUILT,
    "kernel/sched/Makefile": "obj-y += build.o\n",
    "kernel/sched/build.c": '#ifdef CONFIG_BPF\n# include "part.c"\n#endif\n',
    "kernel/sched/part.c": PART,
    "net/Makefile": (
        "obj-m += my-mod.o\nmy-mod-y := core.o\nifeq ($(CONFIG_NET),m)\nmy-mod-y += never.o\n"
        "else ifdef CONFIG_BPF\nmy-mod-objs += mod_bpf.o\nendif\n"
    ),
    "net/core.c": "int start(void) { return register_it(); }\n",
    "net/mod_bpf.c": MODULE,
}
CONFIG = "CONFIG_BPF=y\nCONFIG_BPF_SYSCALL=y\nCONFIG_NET=y\nCONFIG_CGROUPS=m\n# CONFIG_OFF is not set\n"


def tree(folder: Path, changed: Mapping[str, str] = {}) -> Path:
    for name, text in {**FILES, **changed}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Source:
    return read(tree(tmp_path_factory.mktemp("tree")), Config.parse(CONFIG))


def test_sets_that_are_compiled_and_registered(source: Source) -> None:
    assert set(source.kfuncs) == {
        *("bpf_one", "bpf_two", "bpf_cgroup", "bpf_everywhere", "bpf_meta_a", "bpf_meta_b"),
        *("bpf_part", "bpf_in_module"),
    }
    assert source.fmod_ret == {"bpf_probe_target"}
    assert source.unregistered == {"bpf_dead"}
    assert source.notes[0] == "kernel/bpf/helpers.c: nothing mentions nobody_calls_me()"


def test_flags_of_each_program_type(source: Source) -> None:
    flags = source.kfuncs["bpf_one"].flags
    assert flags == dict.fromkeys(("TRACING", "LSM"), frozenset({"ACQUIRE", "RET_NULL", "IMPLICIT_ARGS"}))
    assert source.kfuncs["bpf_two"].flags == {
        "TRACING": {"ACQUIRE", "SLEEPABLE"},  # KF_BOTH, of a header
        "LSM": {"ACQUIRE", "SLEEPABLE"},
        "SYSCALL": {"SLEEPABLE"},  # the set of part.c
    }
    assert source.kfuncs["bpf_two"].common_flags == {"SLEEPABLE"}
    everywhere = source.kfuncs["bpf_everywhere"].flags
    assert set(everywhere) == {"XDP", "TRACING", "LSM", "SYSCALL", "SK_MSG", "EXT"}


def test_macros_tables_filters_and_modules(source: Source) -> None:
    meta = source.kfuncs["bpf_meta_b"]
    assert meta.flags == {"XDP": frozenset(), "SYSCALL": frozenset()}
    assert meta.filters == dict.fromkeys(("XDP", "SYSCALL"), frozenset({"meta_filter"}))
    assert source.kfuncs["bpf_one"].filters == {}
    assert [source.kfuncs[name].module for name in ("bpf_in_module", "bpf_part")] == ["my_mod", None]


def test_prototypes(source: Source) -> None:
    one = source.kfuncs["bpf_one"]
    assert one.prototype and one.called
    assert one.prototype.params[1] == ("const struct bpf_prog_aux *", "aux")
    assert one.called.text == "struct task_struct * (struct task_struct * p)"
    everywhere = source.kfuncs["bpf_everywhere"].called
    assert everywhere and everywhere.params == (("char *", "s__ign"), ("u32", "s__sz"))


def test_a_configuration_that_differs(tmp_path: Path) -> None:
    config = CONFIG.replace("CONFIG_CGROUPS=m", "CONFIG_OFF=y").replace("CONFIG_NET=y\n", "")
    helpers = HELPERS.replace("KF_NONSENSE", "KF_SLEEPABLE")
    mentions = {"kernel/bpf/caller.c": "int f(void) { return register_it(); }\n"}
    makefile = FILES["kernel/bpf/Makefile"] + "obj-y += caller.o\n"
    changed = {"kernel/bpf/helpers.c": helpers, "kernel/bpf/Makefile": makefile, **mentions}
    found = read(tree(tmp_path, changed), Config.parse(config)).kfuncs
    assert {"bpf_off", "bpf_not_here"} <= set(found)
    assert not {"bpf_cgroup", "bpf_in_module"} & set(found)


def test_a_kernel_before_kfuncs_has_none(tmp_path: Path) -> None:
    changed = dict.fromkeys(
        ("kernel/bpf/helpers.c", "kernel/bpf/off.c", "kernel/sched/part.c", "net/mod_bpf.c"), "int x;\n"
    )
    assert read(tree(tmp_path, changed), Config.parse(CONFIG)).kfuncs == {}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("KF_BOTH)", "KF_MYSTERY)", "flags that include/linux/btf.h has not"),
        ("BTF_ID_FLAGS(func, bpf_everywhere)", "BTF_ID_FLAGS(func, bpf_everywhere) SURPRISE(x)", "'SURPRISE"),
        ("#if IS_ENABLED(CONFIG_CGROUPS)", "#if GCC_VERSION > 5", "cannot be told"),
        ("BPF_PROG_TYPE_TRACING, &generic_set", "which, &generic_set", "no program type"),
        ("BPF_PROG_TYPE_TRACING, &generic_set", "BPF_PROG_TYPE_SK_MSG, &generic_set", "no hook"),
        (
            "(BPF_PROG_TYPE_TRACING, &generic_set)",
            "(BPF_PROG_TYPE_TRACING, pick())",
            "a form",
        ),
        ("BTF_KFUNCS_END(common_ids)", "", "without an end"),
    ],
)
def test_what_is_not_understood_is_an_error_and_never_a_guess(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    assert old in HELPERS
    changed = {"kernel/bpf/helpers.c": HELPERS.replace(old, new)}
    with pytest.raises(ReadError, match=message):
        read(tree(tmp_path, changed), Config.parse(CONFIG))


def test_a_tree_in_parts_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "kernel").mkdir()
    with pytest.raises(ReadError, match="whole kernel source"):
        read(tmp_path, Config.parse(CONFIG))


def test_homes_of_files(tmp_path: Path) -> None:
    kbuild = Kbuild(tree(tmp_path), Config.parse(CONFIG), "x86")
    homes = {
        name: kbuild.home(Path(name))
        for name in ("net/mod_bpf.c", "net/never.c", "kernel/bpf/btf.c", "kernel/bpf/off.c", "lib/x.c")
    }
    assert homes == {
        "net/mod_bpf.c": "my_mod",
        "net/never.c": None,
        "kernel/bpf/btf.c": "vmlinux",
        "kernel/bpf/off.c": None,
        "lib/x.c": None,
    }


# -- claims -------------------------------------------------------------------------------------------------


def claims_of(source: Source) -> dict[str, Claim]:
    """What Holdfast would have to claim."""
    found = {}
    for name, kfunc in source.kfuncs.items():
        assert kfunc.called is not None
        returns, _, params = kfunc.called.text.partition("(")
        by_type = {kind: flags for kind, flags in kfunc.flags.items() if flags != kfunc.common_flags}
        found[name] = Claim(
            name,
            kfunc.module,
            kfunc.common_flags,
            frozenset(kfunc.flags),
            bool(kfunc.filters),
            by_type or None,
            f"{returns.strip()} {name}({params}",
        )
    return found


def in_btf(source: Source) -> frozenset[str]:
    return frozenset(source.kfuncs) | {"bpf_one_impl"}


def test_right_claims_agree_in_every_layer(source: Source) -> None:
    found = against_source(claims_of(source), source, in_btf(source))
    assert found.wrong == [] and found.broken == [] and found.unresolved == ()
    assert {layer: found.row(layer) for layer in found.agreed} == {
        layer: (len(source.kfuncs), 0, 0) for layer in found.agreed
    }


@pytest.mark.parametrize(
    ("layer", "change", "truth"),
    [
        ("flags", {"flags": frozenset({"ACQUIRE"})}, "SLEEPABLE"),
        ("program types", {"program_types": frozenset({"TRACING", "LSM"})}, "LSM SYSCALL TRACING"),
        ("flags by type", {"by_type": None}, "LSM: ACQUIRE SLEEPABLE; SYSCALL: SLEEPABLE"),
        ("filters", {"narrowed": True}, "False"),
        ("modules", {"module": "vmalloc"}, "vmlinux"),
        ("prototypes", {"prototype": "int bpf_two(u32 flags)"}, "int (u64 flags)"),
        ("prototypes", {"prototype": "int bpf_two(u64 flags__k)"}, "int (u64 flags)"),
        ("prototypes", {"prototype": "<fwd>"}, "int (u64 flags)"),
    ],
)
def test_a_wrong_claim_is_told_by_name(
    source: Source, layer: str, change: dict[str, Any], truth: str
) -> None:
    claims = claims_of(source)
    claims["bpf_two"] = replace(claims["bpf_two"], **change)
    wrong = against_source(claims, source, in_btf(source)).wrong
    assert (layer, "bpf_two") in [(one.layer, one.name) for one in wrong]
    told = next(one for one in wrong if one.layer == layer)
    assert told.truth.startswith(truth) and told.claimed != told.truth


def test_missing_and_invented_names_are_wrong(source: Source) -> None:
    claims = claims_of(source)
    del claims["bpf_two"]
    claims["bpf_probe_target"] = replace(claims["bpf_one"], name="bpf_probe_target")
    found = against_source(claims, source, in_btf(source))
    assert [(one.name, one.claimed, one.truth) for one in found.wrong] == [
        ("bpf_probe_target", "a kfunc", "fmod_ret only"),
        ("bpf_two", "no kfunc", "a kfunc"),
    ]


def test_not_knowing_is_not_wrong(source: Source) -> None:
    claims = {
        name: replace(claim, flags=None, program_types=None) for name, claim in claims_of(source).items()
    }
    found = against_source(claims, source, in_btf(source))
    assert found.wrong == []
    assert found.row("flags") == found.row("program types") == found.row("filters") == (0, len(claims), 0)


def test_defects_of_the_build_are_told_apart(source: Source) -> None:
    claims = claims_of(source)
    del claims["bpf_part"]
    whole = "struct task_struct *bpf_one(struct task_struct *p, const struct bpf_prog_aux *aux)"
    claims["bpf_one"] = replace(claims["bpf_one"], prototype=whole)
    found = against_source(claims, source, frozenset(claims))
    assert (found.wrong, found.broken, found.unresolved) == ([], ["bpf_one"], ("bpf_part",))
    # with its twin there, BTF is as it should be, and the claim is wrong
    found = against_source(claims, source, in_btf(source))
    assert {(one.layer, one.name) for one in found.wrong} == {
        ("prototypes", "bpf_one"),
        ("names", "bpf_part"),
    }


@pytest.mark.parametrize(
    ("name", "kind", "answers", "row"),
    [
        ("bpf_one", "LSM", [True, False], (1, 0, 0)),
        ("bpf_one", "LSM", [False], (0, 0, 1)),
        ("bpf_one", "LSM", [False, None], (0, 1, 0)),
        ("bpf_one", "LSM", [None], (0, 1, 0)),
        ("bpf_one", "XDP", [False], (1, 0, 0)),
        ("bpf_one", "XDP", [True], (0, 0, 1)),
        ("bpf_meta_a", "XDP", [False], (0, 1, 0)),  # a filter may be why
        ("bpf_probe_target", "XDP", [True], (0, 0, 1)),
        ("bpf_probe_target", "XDP", [False], (0, 0, 0)),
    ],
)
def test_claims_against_a_kernel(
    source: Source, name: str, kind: str, answers: list[bool | None], row: tuple[int, int, int]
) -> None:
    rows = [{"name": name, "program_type": kind, "answer": answer} for answer in answers]
    assert against_probe(claims_of(source), rows).row("probe") == row
