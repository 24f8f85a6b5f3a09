# SPDX-License-Identifier: Apache-2.0
"""Python in the documents is run: as root what is marked ``<!-- root -->``, the rest without a privilege."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest
from tests.docs.documents import ROOT, Block, blocks, sections, table

import holdfast
import holdfast.errors as errors

EXAMPLES = [block for document in ("README.md", "docs/python.md") for block in blocks(document, "python")]
ROOT_ONLY = [block for block in EXAMPLES if block.note == "root"]
PURE = [block for block in EXAMPLES if block.note != "root"]


@pytest.fixture(autouse=True)
def _checkout(tmp_path: Path, built_bundle: Path, kernel_btf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that looks like the checkout, with a kernel's BTF in it."""
    for name in ("bundles", "README.md"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "vmlinux.btf").symlink_to(kernel_btf)
    monkeypatch.chdir(tmp_path)


def _run(block: Block) -> dict[str, Any]:
    code = compile("\n" * (block.line - 1) + block.text, block.document, "exec")
    names: dict[str, Any] = {"__name__": "example"}
    exec(code, names)
    return names


@pytest.mark.live
@pytest.mark.parametrize("block", ROOT_ONLY, ids=[block.label for block in ROOT_ONLY])
def test_examples_for_root(block: Block, capsys: pytest.CaptureFixture[str]) -> None:
    names = _run(block)
    assert capsys.readouterr().out.strip()
    outcome = names.get("outcome")
    assert outcome is None or outcome.closed


@pytest.mark.parametrize("block", PURE, ids=[block.label for block in PURE])
def test_examples_without_privilege(block: Block, capsys: pytest.CaptureFixture[str]) -> None:
    _run(block)
    assert capsys.readouterr().out.strip()


def test_examples_of_other_documents_are_python() -> None:
    for document in ("docs/bundle.md", "docs/rss.md"):
        for block in blocks(document, "python"):
            ast.parse(block.text, block.label)


def test_the_table_names_only_what_the_package_offers() -> None:
    rows = table(sections("docs/python.md")["Python"])
    offered = {row[0].strip("`").partition("(")[0].partition(".")[0] for row in rows}
    assert offered <= set(holdfast.__all__)


def test_the_error_tree_is_complete() -> None:
    (tree,) = (block.text for block in blocks("docs/python.md", "") if "HoldfastError\n" in block.text)
    told = {line.strip("│├└─ ").split(" ")[0] for line in tree.splitlines()}
    assert told == {name for name in errors.__all__ if isinstance(getattr(errors, name), type)}
