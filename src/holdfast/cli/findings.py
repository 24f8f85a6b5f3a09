# SPDX-License-Identifier: Apache-2.0
"""What the history of kfuncs adds to verdicts: grades, contracts, known faults.

Only objects that call kfuncs are looked at, and the catalogue is opened for these alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from holdfast.cli.console import say
from holdfast.elf.spec import ExternKind, ObjectSpec
from holdfast.errors import KernelFileError

if TYPE_CHECKING:
    from holdfast.history.hazards import Hazards
    from holdfast.kernels import KernelFacts
    from holdfast.needs import ObjectNeeds
    from holdfast.predict import ProgramVerdict

__all__ = ["Findings"]


class Findings:
    """Adds to verdicts what kernels besides their own tell of the kfuncs that programs call.

    ``bundles`` are folders whose ``contract.toml``, if there is one, counts besides those that came with
    Holdfast. Raises :exc:`~holdfast.history.contract.ContractError` for a contract that cannot be read or
    that the catalogue contradicts.
    """

    def __init__(self, bundles: Sequence[Path] = ()) -> None:
        self._bundles = bundles
        self._hazards: Hazards | None = None
        self._needs: dict[str, ObjectNeeds] = {}

    def add(
        self, spec: ObjectSpec, facts: KernelFacts, verdicts: Sequence[ProgramVerdict]
    ) -> list[ProgramVerdict]:
        """The verdicts, each with its findings after its hazards."""
        if spec.btf is None or all(extern.kind is not ExternKind.KFUNC for extern in spec.externs):
            return list(verdicts)
        from holdfast.needs import needs_of_object
        from holdfast.predict import Hazard

        if self._hazards is None:
            self._hazards = self._open()
        needs = self._needs.get(spec.sha256)
        if needs is None:
            needs = self._needs[spec.sha256] = needs_of_object(spec)
        result = []
        for verdict, program in zip(verdicts, needs.programs, strict=True):
            found = tuple(
                Hazard(one.code, one.need, one.message, one.evidence, one.source, one.hint)
                for one in self._hazards.of(program, facts, spec.btf)
            )
            result.append(replace(verdict, hazards=verdict.hazards + found) if found else verdict)
        return result

    def _open(self) -> Hazards:
        from holdfast.history import Lives
        from holdfast.history.contract import CONTRACT_NAME, read_contract, shipped_contracts
        from holdfast.history.hazards import Hazards
        from holdfast.history.promises import require
        from holdfast.kernels.cache import Cache, folder
        from holdfast.kernels.catalogue import Shelf

        cache = Cache(folder())
        kernels = []
        for entry in Shelf.open().entries():
            try:
                kernels.append(entry.facts(cache))
            except KernelFileError as error:  # not one of those that were asked about
                say(f"note: {error.message}; grades and hazards of kfuncs do without this kernel", err=True)
        lives = Lives(kernels)
        contracts = {contract.path: contract for contract in shipped_contracts()}
        for bundle in self._bundles:
            path = bundle / CONTRACT_NAME
            if path.is_file():
                own = read_contract(path)
                contracts[own.path] = own
                require([own], lives)
        return Hazards(lives, list(contracts.values()))
