# SPDX-License-Identifier: Apache-2.0
"""Rules that are read off the compiled libraries: what the core needs from outside, who has mutable globals, and what
names are visible between files.

readelf, not nm: the objects carry LTO bytecode too, and nm would show the names in that, which lack what only the
compiler's back end adds.
"""

import re
import subprocess
from collections import namedtuple
from pathlib import Path

from lint_rules import Finding

LIBRARIES = ("core", "filters", "ebpf", "admin", "proxy")
Symbol = namedtuple("Symbol", "member kind binding section writable name")
SECTION = re.compile(r"^\s*\[\s*(\d+)\]\s+(\S+)\s+\S+\s+[0-9a-f]+\s+[0-9a-f]+\s+[0-9a-f]+\s+[0-9a-f]+\s+([A-Za-z]*)")
ENTRY = re.compile(r"^\s*\d+:\s+[0-9a-f]+\s+\S+\s+(\w+)\s+(\w+)\s+\w+\s+(?:\[[^\]]*\]\s+)?(\w+)\s+(\S+)")


def symbols_of(archive):
    """Every named symbol of an archive's objects."""
    # Names are asked for in full; readelf cuts them for a terminal otherwise.
    output = subprocess.run(["readelf", "-SsW", str(archive)], check=True, capture_output=True, text=True).stdout
    member, sections, found = "", {}, []
    for line in output.splitlines():
        if line.startswith("File: "):
            member, sections = line.rsplit("(", 1)[-1].rstrip(")"), {}
            continue
        section = SECTION.match(line)
        if section:
            sections[section.group(1)] = (section.group(2), "W" in section.group(3))
            continue
        entry = ENTRY.match(line)
        if entry:
            kind, binding, index, name = entry.groups()
            where, writable = sections.get(index, (index, index == "COM"))
            found.append(Symbol(member, kind, binding, where, writable, name))
    return found


def allowed(path):
    """The first word of each line of an allow-list; the reason follows it."""
    lines = Path(path).read_text().splitlines() if Path(path).is_file() else []
    return {line.split()[0] for line in lines if line.strip() and not line.startswith("#")}


def core_symbols(symbols, allow):
    """What the core needs from outside and must not."""
    defined = {s.name for s in symbols if s.section != "UND" and s.binding in ("GLOBAL", "WEAK")}
    needed = {s.name: s.member for s in symbols if s.section == "UND" and s.binding in ("GLOBAL", "WEAK")}
    # gcc puts the frame of LTO objects' bytecode under this name.
    outside = set(needed) - defined - allow - {"__gnu_lto_slim"}
    for name in sorted(outside):
        yield Finding(f"libvortex_core.a({needed[name]})", 1, "core-symbols",
                      f"the core must not need {name} (scripts/core-symbols.allow)")


def mutable_globals(library, symbols, allow):
    for symbol in symbols:
        constant = symbol.section.startswith(".data.rel.ro")
        name = re.sub(r"\.\d+$", "", symbol.name)
        thread_local = symbol.kind == "TLS"
        if not thread_local and (symbol.kind != "OBJECT" or not symbol.writable or constant):
            continue
        if name not in allow:
            yield Finding(f"libvortex_{library}.a({symbol.member})", 1, "globals",
                          f"{name} is a mutable global (scripts/globals.allow)")


def public_names(library, symbols):
    for symbol in symbols:
        public = symbol.binding == "GLOBAL" and symbol.kind in ("FUNC", "OBJECT", "TLS") and symbol.section != "UND"
        if public and not symbol.name.startswith("vx_"):
            yield Finding(f"libvortex_{library}.a({symbol.member})", 1, "names",
                          f"{symbol.name} is seen by other files: call it vx_<module>_<verb>, or make it static")


def binary_rules(root, folder):
    """All findings about the libraries in a build's folder; each that exists is looked at, the core must."""
    scripts = Path(root) / "scripts"
    for library in LIBRARIES:
        archive = Path(folder) / f"libvortex_{library}.a"
        if not archive.is_file():
            if library == "core":
                yield Finding(str(archive.name), 1, "core-symbols", "the library is not built")
            continue
        symbols = symbols_of(archive)
        if library == "core":
            yield from core_symbols(symbols, allowed(scripts / "core-symbols.allow"))
        yield from mutable_globals(library, symbols, allowed(scripts / "globals.allow"))
        yield from public_names(library, symbols)
