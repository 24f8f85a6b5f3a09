# SPDX-License-Identifier: Apache-2.0
"""docs/needs.md tells all kinds of needs with the fields that JSON has for them, and all features."""

from __future__ import annotations

from dataclasses import fields
from typing import get_type_hints

import pytest
from tests.docs.documents import names, sections, table

from holdfast.btf.ext import CoreRelo
from holdfast.elf.spec import ExternSpec, MapSpec
from holdfast.insn.features import FEATURES
from holdfast.needs import Need, NeedKind
from holdfast.needs import model as needs_model
from holdfast.needs.model import TargetKind

DOCUMENT = "docs/needs.md"
CLASSES = {cls.kind: cls for cls in Need.__subclasses__()}
JSON_NAMES = {MapSpec: "map", ExternSpec: "extern", CoreRelo: "access"}


def test_the_table_has_every_kind_in_the_order_of_reports() -> None:
    kinds = [names(row[0])[0] for row in table(sections(DOCUMENT)["The kinds"])]
    assert kinds == [str(kind) for kind in NeedKind]


@pytest.mark.parametrize("kind", NeedKind)
def test_the_fields_of_a_kind_are_those_of_its_json(kind: NeedKind) -> None:
    cls = CLASSES[kind]
    hints = get_type_hints(cls, vars(needs_model))
    common = {field.name for field in fields(Need)}
    wanted = {JSON_NAMES.get(hints[f.name], f.name) for f in fields(cls) if f.name not in common}
    rows = {names(row[0])[0]: set(names(row[2])) for row in table(sections(DOCUMENT)["The kinds"])}
    assert rows[kind] == wanted


def test_target_kinds_are_all_named() -> None:
    text = " ".join(sections(DOCUMENT)["The fields"].split())
    assert [kind for kind in TargetKind if f"`{kind}`" not in text] == []


def test_features_are_those_of_the_code() -> None:
    rows = {names(r[0])[0]: r[1:] for r in table(sections(DOCUMENT)["Features of the instruction set"])}
    wanted = {str(f): [o.summary, str(o.isa), o.release or ""] for f, o in FEATURES.items()}
    assert rows == wanted
