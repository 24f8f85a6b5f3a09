# SPDX-License-Identifier: Apache-2.0
"""C as the proof of kfuncs reads it: conditions, macros, functions, prototypes."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
sys.path.append(str(ROOT / "scripts"))  # the scripts import each other by name

from prove_kfuncs_cpp import Config, Preprocessor, ReadError, Unit  # noqa: E402
from prove_kfuncs_prototypes import definition, parse  # noqa: E402
from prove_kfuncs_reach import never_runs  # noqa: E402

CONFIG = Config.parse('CONFIG_A=y\nCONFIG_M=m\nCONFIG_64BIT=y\nCONFIG_NUMBER=250\nCONFIG_NAME="x"\n')


def processed(folder: Path, text: str, **options: frozenset[str]) -> str:
    path = folder / "unit.c"
    path.write_text(text)
    words = options.pop("words", frozenset({"WORD"}))
    return " ".join(Preprocessor(folder, CONFIG, arch="x86", words=words, **options).read(path).text.split())


@pytest.mark.parametrize(
    ("condition", "value"),
    [
        ("#ifdef CONFIG_A", True),
        ("#ifdef CONFIG_M", False),  # =m defines CONFIG_M_MODULE
        ("#ifdef CONFIG_M_MODULE", True),
        ("#ifndef CONFIG_GONE", True),
        ("#if IS_ENABLED(CONFIG_M) && IS_MODULE(CONFIG_M) && !IS_BUILTIN(CONFIG_M)", True),
        ("#if defined(CONFIG_GONE) || defined CONFIG_A", True),
        ("#if BITS_PER_LONG == 32", False),
        ("#if CONFIG_NUMBER >= 250 && CONFIG_NUMBER < 0x100", True),
        ("#if (1 + 2 * 3) == 7 && -1 < 0 && (1 << 4) == 16UL && !(5 % 2 - 1)", True),
        ("#define LOCAL 1\n#if LOCAL", True),
        ("#define LOCAL 1\n#undef LOCAL\n#ifdef CONFIG_GONE", False),
    ],
)
def test_conditions(tmp_path: Path, condition: str, value: bool) -> None:
    text = f"{condition}\nint yes;\n#else\nint no;\n#endif\n"
    assert processed(tmp_path, text) == ("int yes ;" if value else "int no ;")


def test_else_and_elif_take_one_branch(tmp_path: Path) -> None:
    text = "#if 0\na\n#elif CONFIG_A\nb\n# if 0\nc\n# endif\n#elif 1\nd\n#else\ne\n#endif\nf\n"
    assert processed(tmp_path, text) == "b f"


@pytest.mark.parametrize(
    "condition", ["#ifdef SOMETHING", "#if VERSION(3) > 2", "#if IS_REACHABLE(CONFIG_M)"]
)
def test_an_unknown_condition_matters_only_around_a_word(tmp_path: Path, condition: str) -> None:
    assert processed(tmp_path, f"{condition}\nx\n#endif\ny\n") == "y"
    for text in (f"{condition}\nWORD(x)\n#endif\n", f"{condition}\n#else\n#if 0\nWORD(x)\n#endif\n#endif\n"):
        with pytest.raises(ReadError, match="cannot be told"):
            processed(tmp_path, text)


def test_comments_strings_and_joined_lines(tmp_path: Path) -> None:
    text = 'a /* #if 0\n*/ b // c\n"/* d */" \\\n e \'"\' f\n'
    assert processed(tmp_path, text) == 'a b "/* d */" e \'"\' f'


def test_macros_are_expanded_where_they_carry_a_word(tmp_path: Path) -> None:
    text = """
#define PLAIN(x) not_expanded
#define ONE(a, ...) WORD(a, ##__VA_ARGS__) name_##a #a
#define TWO(x) ONE(x, 1, 2) ONE(x)
PLAIN(1) TWO(foo)
TWO
"""
    expected = 'PLAIN ( 1 ) WORD ( foo , 1 , 2 ) name_foo "foo" WORD ( foo ) name_foo "foo" TWO'
    assert processed(tmp_path, text) == expected


def test_a_macro_does_not_expand_itself(tmp_path: Path) -> None:
    assert processed(tmp_path, "#define LOOP WORD(x) LOOP\nLOOP\n") == "WORD ( x ) LOOP"


def test_headers_are_asked_within_a_region_alone(tmp_path: Path) -> None:
    (tmp_path / "include/linux").mkdir(parents=True)
    (tmp_path / "include/linux/a.h").write_text("#ifndef _A_H\n#define _A_H\n#include <linux/b.h>\n#endif\n")
    (tmp_path / "include/linux/b.h").write_text(
        "#ifdef CONFIG_A\n#define LIST F(1)\n#else\n#define LIST F(2)\n#endif\n"
    )
    text = "#include <linux/a.h>\nLIST START LIST kept END LIST\n"
    region = {
        "words": frozenset({"START", "END"}),
        "opens": frozenset({"START"}),
        "closes": frozenset({"END"}),
    }
    assert processed(tmp_path, text, **region) == "LIST START F ( 1 ) kept END LIST"


def test_functions_of_a_file() -> None:
    text = (
        "struct s { int ( * op ) ( int ) ; } ;\nMACRO ( x , y )\nstatic int one ( int a ) {"
        ' if ( a ) { return "}" ; } return 0 ; }\nint two ( void ) ;\n'
        "int table [ ] = { 1 , 2 } ;\nlate_initcall ( one ) ;\n__bpf_kfunc void * three ( void ) { }\n"
    )
    unit = Unit(Path("unit.c"), text)
    assert [found.name for found in unit.functions] == ["one", "three"]
    inside = unit.around(text.index("return 0"))
    assert inside and inside.name == "one"
    assert unit.around(text.index("late_initcall")) is None
    one, three = definition(unit, "one"), definition(unit, "three")
    assert one and one.text == "int (int a)"
    assert three and three.text == "void * ()"
    assert definition(unit, "two") is None


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("__bpf_kfunc u64 f(void)", "u64 f()"),
        ("unsigned long f(long unsigned int x)", "long unsigned int f(unsigned long x)"),
        ("int f(const char *s)", "int f(char const *s)"),
        ("int f(char buffer[16])", "int f(char *buffer)"),
        ("void f(int (callback_fn)(void *map, int *key))", "void f(int (*callback_fn)(void *, int *))"),
        ("struct a *f(void __user *p)", "struct a * f(void *p)"),
        ("__printf(1, 2) int f(const char *fmt, ...)", "int f(const char *fmt, ...)"),
        ("int f(long long unsigned x, short int y, char z)", "int f(unsigned long long x, short y, char z)"),
        ("const struct cpumask *f(void)", "struct cpumask const *f(void)"),
        ("int f(void **p__ign)", "int f(void * *p__ign)"),
        ("void f(const struct s *const p)", "void f(struct s const *const p)"),
    ],
)
def test_prototypes_that_are_one(one: str, other: str) -> None:
    assert parse(one) == parse(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("int f(u32 x)", "int f(u64 x)"),
        ("int f(u32 x)", "int f(u32 x__k)"),
        ("int f(struct a *x)", "int f(const struct a *x)"),
        ("int f(struct a *x)", "int f(struct a **x)"),
        ("int f(struct a *x)", "int f(union a *x)"),
        ("int f(int x)", "int f(unsigned int x)"),
        ("int f(int x)", "long f(int x)"),
        ("int f(int x)", "int f(int x, int y)"),
        ("void f(int (*cb)(int))", "void f(int (*cb)(long))"),
        ("int f(const char *fmt, ...)", "int f(const char *fmt)"),
        ("void f(struct s *p)", "void f(struct s *const p)"),
    ],
)
def test_prototypes_that_differ(one: str, other: str) -> None:
    assert parse(one) != parse(other)


def test_implicit_arguments_are_dropped_from_the_first_on() -> None:
    whole = parse("int f(int x, const struct bpf_prog_aux *aux)")
    assert whole.without_implicit() == parse("int f(int x)")
    assert parse("int f(struct btf_struct_meta *meta)").without_implicit() == parse("int f(void)")
    assert parse("int f(struct bpf_prog *aux)").without_implicit() == parse("int f(struct bpf_prog *aux)")


@pytest.mark.parametrize("text", ["int x", "", "int f(int", "<fwd>"])
def test_what_is_no_prototype(text: str) -> None:
    with pytest.raises(ReadError):
        parse(text)


@pytest.mark.parametrize(
    ("body", "runs"),
    [
        ("if ( IS_ENABLED ( CONFIG_A ) ) { CALL ( ) ; }", True),
        ("if ( IS_ENABLED ( CONFIG_GONE ) ) CALL ( ) ;", False),
        ("if ( ! IS_ENABLED ( CONFIG_GONE ) ) CALL ( ) ; else x ;", True),
        ("if ( IS_BUILTIN ( CONFIG_M ) ) x ; else if ( y ) { CALL ( ) ; }", True),
        ("if ( IS_MODULE ( CONFIG_M ) ) x ; else { CALL ( ) ; }", False),
        ("if ( ret || ! IS_ENABLED ( CONFIG_GONE ) ) return ret ; return CALL ( ) ;", False),  # 7.3
        ("if ( ret || ! IS_ENABLED ( CONFIG_A ) ) return ret ; return CALL ( ) ;", True),
        ("if ( ret && ! IS_ENABLED ( CONFIG_GONE ) ) return ret ; CALL ( ) ;", True),
        ("if ( ! IS_ENABLED ( CONFIG_GONE ) ) { a ( ) ; return 0 ; } CALL ( ) ;", False),
        ("if ( ! IS_ENABLED ( CONFIG_GONE ) ) goto out ; x ; out : CALL ( ) ;", True),
        ("if ( ! ( IS_ENABLED ( CONFIG_GONE ) && y ) ) return 0 ; CALL ( ) ;", False),
        ("if ( f ( IS_ENABLED ( CONFIG_GONE ) ) ) CALL ( ) ;", True),
        ("while ( IS_ENABLED ( CONFIG_A ) ) { if ( x ) return 1 ; CALL ( ) ; }", True),
        ("for ( ; ; ) { if ( ! IS_ENABLED ( CONFIG_GONE ) ) return 1 ; CALL ( ) ; }", False),
        ("do { x ; } while ( IS_ENABLED ( CONFIG_A ) ) ; CALL ( ) ;", True),
        ("switch ( x ) { case IS_ENABLED ( CONFIG_A ) : return 1 ; default : CALL ( ) ; }", True),
        ("int a [ ] = { IS_ENABLED ( CONFIG_A ) , } ; if ( CALL ( ) ) return 1 ;", True),
    ],
)
def test_what_the_configuration_leaves_of_a_function(body: str, runs: bool) -> None:
    text = f"int f ( void ) {{ {body} }}"
    assert never_runs(text, (text.index("{"), len(text) - 1), text.index("CALL"), CONFIG) is not runs


@pytest.mark.parametrize(
    "body",
    ["ret = IS_ENABLED ( CONFIG_A ) ? CALL ( ) : 0 ;", "if ( IS_ENABLED ( CONFIG_A ) && CALL ( ) ) x ;"],
)
def test_a_call_that_hangs_on_the_configuration_within_its_expression(body: str) -> None:
    text = f"int f ( void ) {{ {body} }}"
    with pytest.raises(ReadError, match="decides within"):
        never_runs(text, (text.index("{"), len(text) - 1), text.index("CALL"), CONFIG)
