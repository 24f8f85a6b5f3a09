# SPDX-License-Identifier: Apache-2.0
"""Lives: where a kfunc is, what changed when, and what is not known."""

from __future__ import annotations

from dataclasses import replace

from tests.unit.history.fakes import TC, XDP, Kfunc, kernel

from holdfast.history import KfuncLife, Lives
from holdfast.history.builds import Presence
from holdfast.history.change import Aspect, Effect
from holdfast.history.eras import callers, eras, flags, prototype
from holdfast.terms import ProgramType

FOO = {"bpf_foo": Kfunc([("x", "u32")])}


def told(life: KfuncLife) -> list[tuple[str, str, Aspect, Effect]]:
    return [
        (step.before.series_name, step.after.series_name, step.change.aspect, step.change.effect)
        for step in life.steps
    ]


def test_first_last_and_gone() -> None:
    kernels = [kernel("6.1.1"), kernel("6.12.1", FOO), kernel("6.18.1", FOO), kernel("7.2.1")]
    lives = Lives(reversed(kernels))
    assert [build.id for build in lives.builds] == [facts.id for facts in kernels]
    life = lives.life("bpf_foo")
    assert life.first and life.first.build.series == (6, 12)
    assert life.last and life.last.build.series == (6, 18)
    assert life.gone_in() == (7, 2)
    assert told(life) == [("6.18", "7.2", Aspect.PRESENCE, Effect.BREAKS)]
    assert lives.names() == ["bpf_foo"] and "bpf_foo" in lives and "bpf_bar" not in lives


def test_gone_and_there_again() -> None:
    lives = Lives([kernel("6.1.1", FOO), kernel("6.6.1"), kernel("6.12.1", FOO)])
    assert [step.change.what for step in lives.life("bpf_foo").steps] == ["gone", "there again"]
    assert lives.life("bpf_foo").gone_in() is None


def test_what_its_configuration_hides_is_not_gone() -> None:
    has, lacks = {"CONFIG_HID_BPF": "y"}, {"CONFIG_X": "y"}
    row = {"hid_bpf_get_data": Kfunc()}
    kernels = [
        kernel("6.12.1", config=lacks),
        kernel("6.18.1", row, config=has),
        kernel("7.2.1", config=lacks),
    ]
    life = Lives(kernels).life("hid_bpf_get_data")
    assert life.option == "CONFIG_HID_BPF" and "Makefile" in life.option_source
    assert [one.hidden_by for one in life.sightings] == ["CONFIG_HID_BPF", None, "CONFIG_HID_BPF"]
    assert life.gone_in() is None and life.steps == ()


def test_the_table_of_options_yields_to_a_kernel_that_contradicts_it() -> None:
    row = {"hid_bpf_get_data": Kfunc()}
    lives = Lives(
        [kernel("6.12.1", config={"CONFIG_X": "y"}), kernel("6.18.1", row, config={"CONFIG_X": "y"})]
    )
    life = lives.life("hid_bpf_get_data")
    assert life.option == "" and life.sightings[0].hidden_by is None


def test_flavours_are_compared_with_themselves() -> None:
    """What sets the flavours apart is no change, and a change that both show is one."""
    wide, narrow = {"bpf_foo": Kfunc([("x", "u64")])}, FOO
    more = {"bpf_foo": Kfunc([("x", "u64")], types=(TC, XDP))}
    kernels = [
        kernel("6.1.1-amd64", narrow),
        kernel("6.1.1-cloud-amd64", narrow),
        kernel("6.12.1-cloud-amd64", narrow),
        kernel("6.18.1-amd64", wide),
        kernel("6.18.1-cloud-amd64", wide),
        kernel("7.2.1-amd64", more),
    ]
    life = Lives(kernels).life("bpf_foo")
    assert told(life) == [
        ("6.12", "6.18", Aspect.PROTOTYPE, Effect.SILENT),
        ("6.18", "7.2", Aspect.PROGRAM_TYPES, Effect.WIDENS),
    ]
    assert life.steps[0].before.id == "debian/6.12.1-cloud-amd64"


def test_a_flavour_with_gaps_repeats_nothing() -> None:
    """arm64 is catalogued at 6.12 and 7.2 alone, and what it sees at once happened in two steps."""
    rows = {
        "6.12": Kfunc([("x", "u32")]),
        "6.18": Kfunc([("x", "u64")]),
        "7.2": Kfunc([("x", "u64")], flags="RET_NULL", types=(TC, XDP)),
    }
    kernels = [kernel(f"{one}.1-amd64", {"bpf_foo": row}) for one, row in rows.items()]
    kernels += [kernel(f"{one}.1-arm64", {"bpf_foo": rows[one]}) for one in ("6.12", "7.2")]
    assert told(Lives(kernels).life("bpf_foo")) == [
        ("6.12", "6.18", Aspect.PROTOTYPE, Effect.SILENT),
        ("6.18", "7.2", Aspect.FLAGS, Effect.TIGHTENS),
        ("6.18", "7.2", Aspect.PROGRAM_TYPES, Effect.WIDENS),
    ]


def test_absent_from_a_flavour_that_never_had_it_says_nothing() -> None:
    kernels = [kernel("6.12.1-amd64", FOO), kernel("6.12.1-cloud-amd64"), kernel("6.18.1-cloud-amd64")]
    life = Lives(kernels).life("bpf_foo")
    assert life.gone_in() is None and life.steps == ()
    assert life.by_series() == {(6, 12): Presence.PRESENT, (6, 18): Presence.UNKNOWN}


def test_program_types_flags_and_modules() -> None:
    before = {"bpf_foo": Kfunc(types=(TC, XDP), flags="ACQUIRE")}
    after = {"bpf_foo": Kfunc(types=(XDP, ProgramType.TRACING), flags="ACQUIRE RET_NULL", module="m")}
    life = Lives([kernel("6.1.1", before), kernel("6.12.1", after)]).life("bpf_foo")
    assert {(step.change.aspect, step.change.effect) for step in life.steps} == {
        (Aspect.PROGRAM_TYPES, Effect.WIDENS),
        (Aspect.PROGRAM_TYPES, Effect.BREAKS),
        (Aspect.FLAGS, Effect.TIGHTENS),
        (Aspect.MODULE, Effect.TIGHTENS),
    }
    assert life.modules == ["m"]


def test_a_filter_that_comes_with_a_type_may_be_that_types() -> None:
    before = {"bpf_foo": Kfunc(types=(TC,))}
    with_type = {"bpf_foo": Kfunc(types=(TC, XDP), narrowed=True)}
    alone = {"bpf_foo": Kfunc(types=(TC,), narrowed=True)}
    assert told(Lives([kernel("6.1.1", before), kernel("6.6.1", with_type)]).life("bpf_foo")) == [
        ("6.1", "6.6", Aspect.PROGRAM_TYPES, Effect.WIDENS)
    ]
    assert told(Lives([kernel("6.1.1", before), kernel("6.6.1", alone)]).life("bpf_foo")) == [
        ("6.1", "6.6", Aspect.PROGRAM_TYPES, Effect.TIGHTENS)
    ]


def test_flags_of_one_type_alone() -> None:
    syscall, ops = ProgramType.SYSCALL, ProgramType.STRUCT_OPS
    types = (syscall, ops)
    before = {"bpf_foo": Kfunc(types=types, by_type={syscall: "", ops: "SLEEPABLE"})}
    after = {"bpf_foo": Kfunc(types=types, flags="SLEEPABLE")}
    life = Lives([kernel("7.2.1", before), kernel("7.3.1", after)]).life("bpf_foo")
    (step,) = life.steps
    assert step.change.effect is Effect.TIGHTENS and step.change.what.startswith(
        "for SYSCALL: gained KF_SLEEPABLE"
    )


def test_modules_that_did_not_come_along_leave_a_doubt() -> None:
    row = {"bpf_ct_foo": Kfunc(module="nf_conntrack")}
    bare = kernel("6.12.1", row, modules=False)
    live = replace(kernel("6.18.1"), source="live", module_names=frozenset({"tun"}))
    whole = kernel("7.0.1")
    life = Lives([kernel("6.1.1", row), bare, live, whole]).life("bpf_ct_foo")
    assert [one.presence.value for one in life.sightings] == ["present", "unknown", "unknown", "absent"]
    assert "nf_conntrack" in life.sightings[1].state.note


def test_without_tags_and_registrations_a_function_is_not_known_to_be_a_kfunc() -> None:
    bare = replace(kernel("6.1.1", FOO), registrations=None)
    life = Lives([bare, kernel("6.12.1", FOO)]).life("bpf_foo")
    assert [one.presence.value for one in life.sightings] == ["unknown", "present"]
    assert life.sightings[0].state.note


def test_a_twin_that_is_not_registered_is_absent() -> None:
    """foo_impl stands in BTF beside foo with KF_IMPLICIT_ARGS, and nobody may call it."""
    kernels = [
        kernel("7.0.1", {**FOO, "bpf_foo_impl": Kfunc(flags=None)}),
        kernel("6.12.1", {"bpf_foo_impl": Kfunc()}),
    ]
    life = Lives(kernels).life("bpf_foo_impl")
    assert [one.presence.value for one in life.sightings] == ["present", "absent"]


def test_btf_that_shows_implicit_parameters_is_no_change_of_the_kfunc() -> None:
    right = {"scx_foo": Kfunc([("x", "u32")], flags="IMPLICIT_ARGS")}
    wrong = {"scx_foo": Kfunc([("x", "u32"), ("aux", "const struct bpf_prog_aux *")], flags="IMPLICIT_ARGS")}
    life = Lives([kernel("7.1.1", right), kernel("7.2.1", wrong), kernel("7.3.1", right)]).life("scx_foo")
    assert [one.state.exposed for one in life.sightings] == [False, True, False]
    assert life.steps == ()


def test_known_renames_and_guesses() -> None:
    kernels = [
        kernel("6.18.1", {"bpf_wq_set_callback_impl": Kfunc(), "bpf_bar_impl": Kfunc([("x", "u32")])}),
        kernel("7.0.1", {"bpf_wq_set_callback": Kfunc(), "bpf_bar": Kfunc([("x", "u32")])}),
    ]
    lives = Lives(kernels)
    (known,) = lives.life("bpf_wq_set_callback_impl").renamed_to
    assert (known.new, known.source, known.guess) == ("bpf_wq_set_callback", "b236134f", False)
    assert [one.old for one in lives.life("bpf_wq_set_callback").renamed_from] == ["bpf_wq_set_callback_impl"]
    (guess,) = lives.life("bpf_bar_impl").renamed_to
    assert (guess.new, guess.release, guess.guess) == ("bpf_bar", "7.0", True)


def test_a_like_name_with_other_parameters_is_no_successor() -> None:
    kernels = [
        kernel("6.18.1", {"bpf_bar_impl": Kfunc()}),
        kernel("7.0.1", {"bpf_bar": Kfunc([("x", "u32")])}),
    ]
    assert Lives(kernels).life("bpf_bar_impl").renamed_to == ()


def test_globs_and_nearest() -> None:
    lives = Lives([kernel("6.12.1", {"bpf_ct_release": Kfunc(), "bpf_ct_alloc": Kfunc()})])
    assert lives.match("bpf_ct_*") == ["bpf_ct_alloc", "bpf_ct_release"]
    assert lives.match("nothing*") == []
    assert lives.nearest("bpf_ct_releas")[0] == "bpf_ct_release"
    assert "scx_bpf_consume" in lives.nearest("scx_bpf_consum")  # gone names are known too


def test_eras() -> None:
    kernels = [
        kernel("6.1.1", {"bpf_foo": Kfunc([("x", "u32")], flags="RET_NULL")}),
        kernel("6.6.1", {"bpf_foo": Kfunc([("x", "u32")], types=(TC, XDP), narrowed=True)}),
        kernel("6.12.1", {"bpf_foo": Kfunc([("x", "u64")], types=None)}),
    ]
    life = Lives(kernels).life("bpf_foo")
    assert [(era.span, era.value) for era in eras(life, prototype)] == [
        ("6.1-6.6", "int bpf_foo(u32 x)"),
        ("6.12", "int bpf_foo(u64 x)"),
    ]
    assert [(era.span, era.value) for era in eras(life, flags)] == [("6.1", "RET_NULL"), ("6.6-6.12", "none")]
    assert [(era.span, era.value) for era in eras(life, callers)] == [
        ("6.1", "SCHED_CLS"),
        ("6.6", "SCHED_CLS XDP (a filter admits fewer)"),
    ]
