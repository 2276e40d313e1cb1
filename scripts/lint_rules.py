# SPDX-License-Identifier: Apache-2.0
"""The project's own rules that can be read off the text of a file.

A rule is a generator over a Tree that yields Finding. docs/core-principles.md says why the rules exist; tests/lint
shows each one refusing a bad sample.
"""

import os
import re
import subprocess
from collections import namedtuple
from pathlib import Path

Finding = namedtuple("Finding", "path line rule message")

FILE_LINES = 800
FUNCTION_LINES = 80
COMPLEXITY = 15
COMPLEXITY_IN_TESTS = 32  # a list of checks, or of faults to play, reads best in one piece
SPDX = "SPDX-License-Identifier: Apache-2.0"

# What each library may include, beside the system's and the dependencies' headers.
MAY_INCLUDE = {
    "core": {"core"},
    "filters": {"core", "filters"},
    "ebpf": {"core", "ebpf"},
    "admin": {"core", "admin"},
    "proxy": {"core", "filters", "ebpf", "admin", "proxy"},
}
# Headers that bring types, constants, plain memory functions or instructions, and nothing that touches the world.
CORE_HEADERS = {
    "float.h", "inttypes.h", "limits.h", "math.h", "stdalign.h", "stdarg.h", "stdatomic.h", "stdbool.h", "stddef.h",
    "stdint.h", "stdnoreturn.h", "string.h", "arm_neon.h", "emmintrin.h", "immintrin.h", "nmmintrin.h", "pmmintrin.h",
    "smmintrin.h", "tmmintrin.h", "wmmintrin.h", "x86intrin.h", "xmmintrin.h",
}
BANNED = {
    "strcpy": "use memcpy with a known length",
    "stpcpy": "use memcpy with a known length",
    "strcat": "use memcpy with a known length",
    "strncpy": "it may leave the end off; use memcpy with a known length",
    "strncat": "use memcpy with a known length",
    "sprintf": "use snprintf",
    "vsprintf": "use vsnprintf",
    "strtok": "it writes into its input; walk a slice",
    "strtok_r": "it writes into its input; walk a slice",
    "atoi": "it cannot report an error",
    "atol": "it cannot report an error",
    "atoll": "it cannot report an error",
    "atof": "it cannot report an error",
    "gets": "it cannot be bounded",
}
BANNED_IN_SRC = BANNED | {
    "scanf": "it overflows silently",
    "sscanf": "it overflows silently",
    "fscanf": "it overflows silently",
    "alloca": "the stack has no error path",
    "rand": "randomness is an argument",
    "random": "randomness is an argument",
    "asctime": "it shares a static buffer between threads",
    "ctime": "it shares a static buffer between threads",
    "gmtime": "use gmtime_r",
    "localtime": "use localtime_r",
    "system": "it runs a shell",
    "popen": "it runs a shell",
    "getaddrinfo": "names are resolved with c-ares",
    "gethostbyname": "names are resolved with c-ares",
}
# Spelled apart, so that this file passes its own rule.
MARKS = re.compile(r"\b(?:TO" r"DO|FIX" r"ME|XX" r"X)\b")
MACHINE = re.compile(
    r"/ro" r"ot/|/ho" r"me/\w+/|/wo" r"rk/|/tmp/" r"vx\b|artifac" r"tory|index\.crates\.io:\d+", re.I)
CARGO_SOURCE = 'source = "registry+https://github.com/rust-lang/crates.io-index"'

C_FILES = (".c", ".h")
CODE_FILES = (".c", ".h", ".py", ".sh", ".rs")
HEADED_FILES = CODE_FILES + (".cmake", ".txt", ".toml", ".proto", ".yaml", ".yml", ".supp", ".allow", ".ini")
HEADED_NAMES = ("Makefile", "Dockerfile", "Containerfile", ".clang-format", ".clang-tidy", ".gitignore")
# Inputs of tests, whose bytes are their content.
DATA_FOLDERS = ("tests/fuzz/corpus/", "tests/data/")


class Tree:
    """A source tree: its root, its files (relative, with '/') and their texts."""

    def __init__(self, root):
        self.root = Path(root)
        self.files = sorted(self._list())
        self._texts = {}
        self._code = {}

    def _list(self):
        if (self.root / ".git").exists():
            command = ["git", "-C", str(self.root), "ls-files", "-co", "--exclude-standard", "-z"]
            listed = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split("\0")
            return {name for name in listed if name and (self.root / name).is_file()}
        found = {str(p.relative_to(self.root)) for p in self.root.rglob("*") if p.is_file()}
        return {name for name in found if not name.startswith("build/")}

    def named(self, *endings, under=""):
        return [f for f in self.files if f.startswith(under) and f.endswith(endings) and not is_data(f)]

    def text(self, name):
        if name not in self._texts:
            self._texts[name] = (self.root / name).read_bytes().decode("utf-8", "replace")
        return self._texts[name]

    def code(self, name):
        """The text with comments and literals blanked, its line numbers kept."""
        if name not in self._code:
            self._code[name] = blank(self.text(name))
        return self._code[name]


def is_data(name):
    return name.startswith(DATA_FOLDERS)


def blank(text):
    token = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)

    def replace(match):
        found = match.group()
        # An include's name is code here: the direction of includes is one of the rules.
        if found.startswith('"') and text[:match.start()].rsplit("\n", 1)[-1].lstrip().startswith("#"):
            return found
        return re.sub(r"[^\n]", " ", found)

    return token.sub(replace, text)


def line_of(text, offset):
    return text.count("\n", 0, offset) + 1


def rule_header(tree):
    """Each file names its licence; a C file also says what it is about."""
    for name in tree.files:
        path = Path(name)
        if is_data(name):
            continue
        lines = tree.text(name).split("\n", 12)
        script = lines[0].startswith("#!")
        if not (path.suffix in HEADED_FILES or path.name in HEADED_NAMES or script):
            continue
        head = lines[1:] if script else lines
        if not head or SPDX not in head[0]:
            yield Finding(name, 1, "header", f"the first line must say {SPDX}")
        elif path.suffix in C_FILES:
            rest = [line for line in head[1:] if line.strip()]
            if not rest or not rest[0].startswith("/*"):
                yield Finding(name, 2, "header", "a comment must say what this file is about and why it exists")


def rule_file_length(tree):
    """A file is about one thing and at most 800 lines long."""
    for name in tree.named(*CODE_FILES):
        count = tree.text(name).count("\n")
        if count > FILE_LINES:
            yield Finding(name, count, "file-length", f"{count} lines; at most {FILE_LINES}")


def rule_function_size(tree):
    """A function fits a screen and can be held in the head. A switch counts once: a flat one reads as a table."""
    import lizard
    from lizard_ext.lizardmodified import LizardExtension

    analyse = lizard.FileAnalyzer(lizard.get_extensions([LizardExtension()]))
    for name in tree.named(".c", ".h", ".py"):
        for function in analyse.analyze_source_code(name, tree.text(name)).function_list:
            length = function.end_line - function.start_line + 1
            if length > FUNCTION_LINES:
                message = f"{function.name} has {length} lines; at most {FUNCTION_LINES}"
                yield Finding(name, function.start_line, "function-length", message)
            most = COMPLEXITY_IN_TESTS if name.startswith("tests/") else COMPLEXITY
            if function.cyclomatic_complexity > most:
                message = f"{function.name} has complexity {function.cyclomatic_complexity}; at most {most}"
                yield Finding(name, function.start_line, "complexity", message)


def includes_of(tree, name):
    """(line, bracket, header) of each include."""
    for match in re.finditer(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"\n]+)[>"]', tree.code(name), re.M):
        yield line_of(tree.code(name), match.start()), match.group(1), match.group(2)


def judge_include(tree, name, library, bracket, header):
    """What is wrong with one include of one library's file, or None."""
    if bracket == "<":
        if library == "core" and header not in CORE_HEADERS:
            return f"<{header}> is not for the core: no socket, file, clock, thread, malloc or printf there"
        return None
    target = header.split("/", 1)[0]
    if "src/" + header not in tree.files:
        return f'"{header}" is no file under src/; includes name the path from there'
    if target not in MAY_INCLUDE[library]:
        return f"{library} must not know {target}; dependencies point inward"
    adapter = target in ("filters", "ebpf", "admin")
    if library == "proxy" and adapter and not Path(name).name.startswith("compose"):
        return f"only compose*.c names the adapters of {target}; ask through a port in core/ports"
    return None


def rule_includes(tree):
    """The five libraries include inward only; the core includes nothing that touches the world."""
    for name in tree.named(*C_FILES, under="src/"):
        library = name.split("/")[1]
        if library not in MAY_INCLUDE:
            yield Finding(name, 1, "includes", f"src/{library} is none of the five libraries")
            continue
        for line, bracket, header in includes_of(tree, name):
            message = judge_include(tree, name, library, bracket, header)
            if message:
                yield Finding(name, line, "includes", message)


def rule_banned(tree):
    """Functions that cannot be used safely, and struct typedefs."""
    for name in tree.named(*C_FILES):
        banned = BANNED_IN_SRC if name.startswith("src/") else BANNED
        code = tree.code(name)
        for match in re.finditer(r"(?<![\w.>])(" + "|".join(banned) + r")\s*\(", code):
            message = f"{match.group(1)}() is banned: {banned[match.group(1)]}"
            yield Finding(name, line_of(code, match.start()), "banned", message)
        for match in re.finditer(r"\btypedef\s+(?:const\s+)?(?:struct|union)\b", code):
            yield Finding(name, line_of(code, match.start()), "banned", "structs are named without typedef")


def rule_marks(tree):
    """Nothing is left for later in the sources: that belongs into an issue."""
    for name in tree.files:
        if is_data(name) or name == "LICENSE":
            continue
        for match in MARKS.finditer(tree.text(name)):
            message = f"{match.group()} belongs into an issue"
            yield Finding(name, line_of(tree.text(name), match.start()), "marks", message)


def rule_machine_paths(tree):
    """Nothing names one machine's folders or a package mirror."""
    for name in tree.files:
        if is_data(name) or name == "LICENSE":
            continue
        text = tree.text(name)
        for match in MACHINE.finditer(text):
            yield Finding(name, line_of(text, match.start()), "machine-paths", f"{match.group()} is one machine's own")
        if name.endswith("Cargo.lock"):
            for match in re.finditer(r"^source = .*$", text, re.M):
                if match.group() != CARGO_SOURCE:
                    yield Finding(name, line_of(text, match.start()), "machine-paths", "a source other than crates.io")
        if re.search(r"requirements[^/]*\.txt$", name):
            for match in re.finditer(r"^(?:[^#\n]*https?://|\s*--?\w*(?:index|find-links)).*$", text, re.M):
                yield Finding(name, line_of(text, match.start()), "machine-paths", "requirements name no host")


def rule_architecture(tree):
    """Each function and file that the documents name exists."""
    documents = [f for f in tree.files if f == "ARCHITECTURE.md" or (f.startswith("docs/") and f.endswith(".md"))]
    if "ARCHITECTURE.md" not in documents:
        yield Finding("ARCHITECTURE.md", 1, "architecture", "the file is missing")
    words = set()
    for name in tree.named(*C_FILES):
        words.update(re.findall(r"\w+", tree.code(name)))
    for name in documents:
        text = tree.text(name)
        for match in re.finditer(r"`([^`\n]+)`", text):
            message = judge_reference(tree, words, match.group(1))
            if message:
                yield Finding(name, line_of(text, match.start()), "architecture", message)


def judge_reference(tree, words, quoted):
    """What is wrong with one `quoted` name in a document, or None."""
    function = re.fullmatch(r"(vx_\w*)(\*?)(?:\(\))?|(\w+)\(\)", quoted)
    if function:
        word = function.group(1) or function.group(3)
        if function.group(2):
            return None if any(w.startswith(word) for w in words) else f"no name begins with {word}"
        return None if word in words else f"{word} is not in the sources"
    path = re.fullmatch(r"((?:src|tests|scripts|native|cmake|docs|api|deploy)/[\w./-]*[\w-])/?", quoted)
    if path:
        wanted = path.group(1)
        there = any(f == wanted or f.startswith(wanted + "/") for f in tree.files)
        return None if there else f"{wanted} is not in the tree"
    return None


def rule_state_tables(tree):
    """Each function that the table of a state machine names is one of its folder, or another one's in full."""
    everywhere = set()
    for name in tree.named(*C_FILES):
        everywhere.update(re.findall(r"\w+(?=\()", tree.code(name)))
    for name in tree.named(*C_FILES, under="src/"):
        folder = name.rsplit("/", 1)[0] + "/"
        here = set()
        for other in tree.named(*C_FILES, under=folder):
            here.update(re.findall(r"\w+(?=\()", tree.code(other)))
        for line, function in functions_of_tables(tree.text(name)):
            if function not in (everywhere if function.startswith("vx_") else here):
                yield Finding(name, line, "state-tables", f"{function} is not in the sources")


def functions_of_tables(text):
    """(line, name) of what stands in the last column of tables of states. Behind a colon or in brackets are remarks."""
    column = 0
    for number, line in enumerate(text.split("\n"), 1):
        heading = re.search(r"\bevent\b.*\bnext\b.*\bfunction\b", line)
        if heading:
            column = line.index("function")
            continue
        if not line.strip(" */"):
            column = 0
        row = re.sub(r"\([^)]*\)?", "", line.rstrip("*/ ")[column:]) if column else ""
        for piece in row.split(":")[0].split(","):
            if re.fullmatch(r"[a-z_][a-z0-9_]*", piece.strip(" |")):
                yield number, piece.strip(" |")


def rule_operations(tree):
    """docs/operations.md has a row for each metric that the sources write, and tells of no metric and no reason that they
    have not. (That it has all reasons, a unit test sees.)"""
    document, errors = "docs/operations.md", "src/core/base/error.h"
    if document not in tree.files:
        return
    text = tree.text(document)
    rows = set(re.findall(r"^\| `(vortex_\w+)` \|", text, re.M))
    metrics = set()
    for name in tree.named(*C_FILES, under="src/"):
        for match in re.finditer(r'"[^"\n]*?\b(vortex_[a-z0-9_]*[a-z0-9])\b', tree.text(name)):
            metrics.add(match.group(1))
            if match.group(1) not in rows:
                yield Finding(name, line_of(tree.text(name), match.start()), "operations",
                              f"{match.group(1)} has no row in {document}")
    for match in re.finditer(r"\b(vortex_[a-z0-9_]*?[a-z0-9])(?:_bucket|_sum|_count)?\b", text):
        if match.group(1) not in metrics:
            yield Finding(document, line_of(text, match.start()), "operations", f"no source writes {match.group(1)}")
    answers = {word: status for status, word in re.findall(r'X\(\w+, (\d+), \w+, "(\w+)"', tree.text(errors))}
    section = re.search(r"^### Reasons$.*?(?=^## |\Z)", text, re.M | re.S)
    for match in re.finditer(r"^\| `(\w+)` \| (\w+) \|", section.group(0) if section else "", re.M):
        word, status = match.groups()
        line = line_of(text, section.start() + match.start())
        if word not in answers:
            yield Finding(document, line, "operations", f"there is no reason {word}")
        elif answers[word] != "0" and answers[word] != status:
            yield Finding(document, line, "operations", f"{word} is answered with {answers[word]}")


def anchors_of(text):
    """The anchors that GitHub gives the headings of a document."""
    text = re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)
    headings = re.findall(r"^#+ (.*)$", text, re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def rule_links(tree):
    """Each link between our documents leads to a file, and to a heading where it names one."""
    for name in tree.named(".md"):
        text = tree.text(name)
        for match in re.finditer(r"\]\((?!https?://)([^)\s#]*)(?:#([^)\s]*))?\)", text):
            path = os.path.normpath(os.path.join(os.path.dirname(name), match.group(1))) if match.group(1) else name
            there = path in tree.files or any(f.startswith(path + "/") for f in tree.files)
            anchor = match.group(2)
            if not there or (anchor and path.endswith(".md") and anchor not in anchors_of(tree.text(path))):
                yield Finding(name, line_of(text, match.start()), "links", f"{match.group(0)[1:]} leads nowhere")


def rule_test_layout(tree):
    """Unit tests mirror src/, and each fuzzer has its corpus."""
    stems = {f[len("src/"):-2] for f in tree.files if f.startswith("src/") and f.endswith(C_FILES)}
    for name in tree.named(".c", under="tests/unit/"):
        path = Path(name)
        if not path.name.startswith("test_"):
            yield Finding(name, 1, "test-layout", "a unit test is called test_<file>.c; helpers live in tests/support")
            continue
        words = path.stem[len("test_"):].split("_")
        folder = str(path.parent)[len("tests/unit/"):]
        candidates = {f"{folder}/{'_'.join(words[:n])}" for n in range(1, len(words) + 1)}
        if not candidates & stems:
            yield Finding(name, 1, "test-layout", f"there is no src/{folder}/{'_'.join(words)}.c that it could test")
    for name in tree.named(".c", under="tests/fuzz/fuzz_"):
        corpus = f"tests/fuzz/corpus/{Path(name).stem[len('fuzz_'):]}/"
        if not any(f.startswith(corpus) for f in tree.files):
            yield Finding(name, 1, "test-layout", f"its corpus {corpus} is missing or empty")


RULES = (
    rule_header, rule_file_length, rule_function_size, rule_includes, rule_banned, rule_marks, rule_machine_paths,
    rule_architecture, rule_state_tables, rule_operations, rule_links, rule_test_layout,
)
