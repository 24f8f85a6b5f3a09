# SPDX-License-Identifier: Apache-2.0
"""What documents name is there: links, anchors, make targets, verbs and files."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest
from tests.docs.documents import ROOT

DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_what_a_document_names_is_there(path: Path) -> None:
    checker = runpy.run_path(str(ROOT / "scripts/check-docs"))
    makefile = (ROOT / "Makefile").read_text().splitlines()
    targets = {line.partition(":")[0] for line in makefile if line[:1].isalpha() and ":" in line}
    assert list(checker["check_document"](path, targets)) == []


def test_the_readme_links_every_document() -> None:
    readme = (ROOT / "README.md").read_text()
    missing = [path.name for path in ROOT.glob("docs/*.md") if f"](docs/{path.name})" not in readme]
    assert missing == []
