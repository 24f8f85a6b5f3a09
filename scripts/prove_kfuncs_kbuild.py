# SPDX-License-Identifier: Apache-2.0
"""Where a kernel's Makefiles put a source file under one configuration: image, module or nowhere.

Reads the Kbuild language as far as directories, obj-y, obj-m and composite objects need it: assignments,
ifeq and ifdef, variables. Used by scripts/prove-kfuncs.
"""

from __future__ import annotations

import re
from pathlib import Path

from prove_kfuncs_cpp import Config, ReadError

__all__ = ["VMLINUX", "Kbuild"]

VMLINUX = "vmlinux"
ASSIGNMENT = re.compile(r"\s*((?:[^\s:=+?#$]|\$\([^)]*\)|\$\{[^}]*\})+)\s*(\+=|:=|::=|\?=|=)\s*(.*)")
REFERENCE = re.compile(r"\$\(([^()$]*)\)|\$\{([^{}$]*)\}")
CONDITION = re.compile(r"\s*(else\s+)?(ifeq|ifneq|ifdef|ifndef)\b\s*(.*)")
Variables = dict[str, list[str]]


class Kbuild:
    """The Makefiles of ``tree``; ``arch`` is the folder's name under arch/ (``x86``, ``arm64``)."""

    def __init__(self, tree: Path, config: Config, arch: str) -> None:
        self.tree, self.config, self.arch = tree, config, arch
        self._files: dict[Path, Variables] = {}

    def home(self, source: Path) -> str | None:
        """``vmlinux``, the name of the module, or None when the file is not compiled.

        ``source`` is inside the tree, relative to it.
        """
        target = source.with_suffix(".o")
        for folder in source.parents:
            found = self._object(folder, str(target.relative_to(folder)), set())
            if found is None:
                continue
            kind, name = found
            above = self._folder(folder)
            if above is None:
                return None
            if kind == "y" and above == "m":
                raise ReadError(f"{source}: obj-y in a folder that is obj-m")
            return VMLINUX if kind == "y" else Path(name).stem.replace("-", "_")
        return None

    def _object(self, folder: Path, name: str, seen: set[str]) -> tuple[str, str] | None:
        """(``y`` or ``m``, the object that is linked) for an object of that folder's Makefile."""
        variables = self._makefile(folder)
        for kind in ("y", "m"):
            if name in variables.get(f"obj-{kind}", ()):
                return kind, name
        if name in seen:
            return None
        for variable, words in variables.items():
            stem, _, ending = variable.rpartition("-")
            if not stem or stem == "obj" or ending not in ("y", "m", "objs") or name not in words:
                continue
            if stem in ("lib", "always", "extra", "subdir", "targets", "ccflags", "asflags"):
                continue
            found = self._object(folder, f"{stem}.o", seen | {name})
            # A part that is =m is linked into a module, and left out of the image.
            if found is not None and (ending != "m" or found[0] == "m"):
                return found
        return None

    def _folder(self, folder: Path) -> str | None:
        """Whether the build goes down into a folder for the image (``y``), for modules (``m``) or not."""
        if folder == Path():
            return "y"
        for above in folder.parents:
            name = f"{folder.relative_to(above)}/"
            variables = self._makefile(above)
            for kind in ("y", "m"):
                words = variables.get(f"obj-{kind}", ())
                if name in words or name.rstrip("/") in words:
                    outer = self._folder(above)
                    return "m" if outer == "y" and kind == "m" else outer
        return None

    def _makefile(self, folder: Path) -> Variables:
        if folder not in self._files:
            self._files[folder] = {}
            path = next((p for n in ("Kbuild", "Makefile") if (p := self.tree / folder / n).is_file()), None)
            if path is not None:
                self._read(path, self._files[folder], depth=0)
        return self._files[folder]

    def _read(self, path: Path, variables: Variables, depth: int) -> None:
        text = re.sub(r"(?<!\\)#[^\n]*", "", path.read_text(errors="replace").replace("\\\n", " "))
        stack: list[tuple[bool, bool, bool]] = []  # outer, some branch taken, active
        for line in text.split("\n"):
            condition = CONDITION.match(line)
            active = not stack or stack[-1][2]
            if condition and not condition[1]:
                value = active and self._test(condition[2], condition[3], variables)
                stack.append((active, value, value))
            elif condition and stack:
                outer, taken, _ = stack.pop()
                value = outer and not taken and self._test(condition[2], condition[3], variables)
                stack.append((outer, taken or value, value))
            elif re.match(r"\s*else\b", line) and stack:
                outer, taken, _ = stack.pop()
                stack.append((outer, True, outer and not taken))
            elif re.match(r"\s*endif\b", line) and stack:
                stack.pop()
            elif active and not line.startswith("\t"):
                self._statement(path, line, variables, depth)

    def _statement(self, path: Path, line: str, variables: Variables, depth: int) -> None:
        include = re.match(r"-?include\s+(.*)", line)
        if include:
            for word in self._expand(include[1], variables).split():
                for found in (path.parent / word, self.tree / word.lstrip("/")):
                    if found.is_file() and depth < 4:
                        self._read(found, variables, depth + 1)
                        break
            return
        match = ASSIGNMENT.match(line)
        if match is None:
            return
        name = self._expand(match[1], variables).strip()
        words = self._expand(match[3], variables).split()
        if match[2] == "+=":
            variables[name] = variables.get(name, []) + words
        elif match[2] != "?=" or name not in variables:
            variables[name] = words

    def _test(self, word: str, rest: str, variables: Variables) -> bool:
        if word in ("ifdef", "ifndef"):
            name = self._expand(rest, variables).strip()
            return bool(self._value(name, variables)) == (word == "ifdef")
        rest = self._expand(rest, variables).strip()
        match = re.fullmatch(r"\((.*?),(.*)\)|[\"'](.*?)[\"']\s+[\"'](.*?)[\"']", rest)
        if match is None:
            return False
        left, right = (match[1], match[2]) if match[1] is not None else (match[3], match[4])
        return (left.strip() == right.strip()) == (word == "ifeq")

    def _value(self, name: str, variables: Variables) -> str:
        if name.startswith("CONFIG_"):
            return self.config[name]
        fixed = {"SRCARCH": self.arch, "ARCH": self.arch, "srctree": "", "src": "", "obj": ""}
        return fixed[name] if name in fixed else " ".join(variables.get(name, ()))

    def _expand(self, text: str, variables: Variables) -> str:
        for _ in range(32):
            match = REFERENCE.search(text)
            if match is None:
                return text
            inner = match[1] if match[1] is not None else match[2]
            text = text[: match.start()] + self._call(inner, variables) + text[match.end() :]
        return text

    def _call(self, inner: str, variables: Variables) -> str:
        word, _, rest = inner.partition(" ")
        parts = [part.strip() for part in rest.split(",")]
        if not rest:
            return self._value(inner, variables)
        match word:
            case "subst" if len(parts) == 3:
                return parts[2].replace(parts[0], parts[1])
            case "filter" | "filter-out" if len(parts) == 2:
                wanted = parts[0].split()
                return " ".join(w for w in parts[1].split() if (w in wanted) == (word == "filter"))
            case "if" if len(parts) >= 2:
                return parts[1] if parts[0] else "".join(parts[2:3])
            case "or":
                return next((part for part in parts if part), "")
            case "and":
                return parts[-1] if all(parts) else ""
            case "addprefix" if len(parts) == 2:
                return " ".join(parts[0] + w for w in parts[1].split())
            case "strip":
                return rest.strip()
            case _:
                return ""
