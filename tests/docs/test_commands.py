# SPDX-License-Identifier: Apache-2.0
"""Commands in the documents: verbs and options exist, and those that are marked so are run.

A block marked ``<!-- runs: 4 -->`` is run as it stands and ends with that status; ``same`` after it says
that each line shown is in the output, numbers apart; ``...`` stands for lines left out.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest
from tests.docs.documents import ROOT, Block, blocks

from holdfast.cli.group import group

DOCUMENTS = sorted(str(p.relative_to(ROOT)) for p in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
BLOCKS = [
    block for document in DOCUMENTS for language in ("console", "") for block in blocks(document, language)
]
MARKED = [block for block in BLOCKS if block.note.startswith("runs: ")]


def _commands(block: Block) -> list[list[str]]:
    """The command lines of a block that call holdfast, as words, without ``holdfast``."""
    joined = re.sub(r"\\\n\s*", "", block.text)
    found = []
    for line in joined.splitlines():
        command = re.match(r"(?:\$ )?(?:sudo )?(?:\.venv/bin/)?holdfast (?!:)(.+)", line)
        if command and (line.startswith("$") or block.language == ""):
            found.append(shlex.split(command[1], comments=True))
    return found


COMMANDS = [(block.label, words) for block in BLOCKS for words in _commands(block)]


@pytest.mark.parametrize("words", [c for _, c in COMMANDS], ids=[f"{label} {c[0]}" for label, c in COMMANDS])
def test_verbs_and_options_exist(words: list[str]) -> None:
    command: click.Command = group
    context = click.Context(group)
    rest = words
    while isinstance(command, click.Group) and rest:
        _, found, rest = command.resolve_command(context, rest)
        assert found is not None
        command = found
    command.make_context("holdfast", rest)


def test_some_commands_are_found() -> None:
    assert {words[0] for _, words in COMMANDS} >= {"needs", "check", "kernels", "run", "rss"}


@pytest.mark.live
@pytest.mark.corpus
@pytest.mark.parametrize("block", MARKED, ids=[block.label for block in MARKED])
def test_marked_blocks_run(block: Block, corpus: list[Path], built_bundle: Path) -> None:
    status, _, kind = block.note.removeprefix("runs: ").partition(", ")
    (words,) = _commands(block)
    ran = subprocess.run(
        [sys.executable, "-m", "holdfast.cli.main", *(_here(word, corpus) for word in words)],
        cwd=ROOT,
        env={**os.environ, "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert ran.returncode == int(status), ran.stderr
    if kind == "same":
        printed = {_blank(line) for line in ran.stdout.splitlines()}
        shown = [line for line in block.text.splitlines()[1:] if line != "..."]
        assert [line for line in shown if _blank(line) not in printed] == []


def _here(word: str, corpus: list[Path]) -> str:
    """A path in ``build/corpus`` as it is here: another folder, another release of the distribution."""
    name = Path(word).name
    if not word.startswith("build/corpus/"):
        return word
    tail = name.partition("__")[2]
    found = [path for path in corpus if path.name.endswith(f"__{tail}")]
    if not found:
        pytest.skip(f"no {tail} among the objects here")
    return str(found[0])


def _blank(line: str) -> str:
    line = re.sub(r"^\S*/\S*__", "", line)
    return re.sub(r"\b(?:trixie|sid|[a-z]+)(?=\.(?:rodata|bss|data))", "", re.sub(r"\d+", "0", line)).strip()
