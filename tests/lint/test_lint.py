# SPDX-License-Identifier: Apache-2.0
"""Each lint rule refuses a bad sample and lets a good one pass, so that no rule is there in name only."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

import lint_binary  # noqa: E402
import lint_rules  # noqa: E402

HEAD = "/* SPDX-License-Identifier: Apache-2.0 */\n/* A sample. */\n"
OPERATIONS = "# Page\n\n| `vortex_requests_total` | all |\n\n### Reasons\n\n| `no_route` | 404 | none |\n"
GOOD = {
    "ARCHITECTURE.md": "`vx_sample_get` begins in `src/core/sample.c`, which `vx_sample_*` share.\n",
    "docs/operations.md": OPERATIONS,
    "src/core/base/error.h": HEAD + '#define LIST(X) X(NO_ROUTE, 404, CLIENT, "no_route", "Not Found")\n',
    "src/proxy/page.c": HEAD + 'const char *const vx_page = "# TYPE vortex_requests_total counter";\n',
    "src/core/sample.h": HEAD + "#include <stddef.h>\nint vx_sample_get(size_t at);\n",
    "src/core/sample.c": HEAD + '#include "core/sample.h"\nint vx_sample_get(size_t at) { return (int)at; }\n',
    "src/filters/engine.h": HEAD + '#include "core/sample.h"\n',
    "src/proxy/compose.c": HEAD + '#include "filters/engine.h"\n#include <stdlib.h>\n',
    "tests/unit/core/test_sample.c": HEAD + '#include "core/sample.h"\n',
    "tests/fuzz/fuzz_sample.c": HEAD,
    "tests/fuzz/corpus/sample/one": "XX" "X TO" "DO",
    "native/Cargo.lock": lint_rules.CARGO_SOURCE + "\n",
    "requirements.txt": "# SPDX-License-Identifier: Apache-2.0\npytest==9.2.0\n",
    "scripts/tool": "#!/bin/sh\n# SPDX-License-Identifier: Apache-2.0\n",
}


def lint(tmp_path, **changed):
    """The findings of all text rules in the good tree with some files changed, as (path, rule) pairs."""
    for name, text in {**GOOD, **changed.get("files", {})}.items():
        if text is None:
            continue
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    tree = lint_rules.Tree(tmp_path)
    return {(f.path, f.rule) for rule in lint_rules.RULES for f in rule(tree)}


def test_good_tree_is_clean(tmp_path):
    assert lint(tmp_path) == set()


def long_function(lines):
    return HEAD + "int vx_sample_get(int n);\nint vx_sample_get(int n) {\n" + "    n += 1;\n" * lines + "    return n;\n}\n"


def branching_function(branches):
    return HEAD + "int vx_sample_get(int n) {\n" + "    if (n) n++;\n" * branches + "    return n;\n}\n"


def statement(code):
    return HEAD + "void vx_sample_get(char *a, const char *b) {\n    " + code + "\n}\n"


def table(function):
    rows = f" * state  event  next  function\n * IDLE   go     BUSY  {function}\n *\n * Another thing: gone\n"
    return GOOD["src/core/sample.c"] + "/* How it moves.\n" + rows + " */\n"


BAD = [
    ("header", "src/core/sample.c", "/* A sample. */\nint vx_sample_get;\n"),
    ("header", "src/core/sample.h", "/* SPDX-License-Identifier: Apache-2.0 */\n#include <stddef.h>\n"),
    ("header", "requirements.txt", "pytest==9.2.0\n"),
    ("header", "scripts/tool", "#!/bin/sh\necho\n"),
    ("header", "Makefile", "all:\n"),
    ("file-length", "src/core/sample.h", HEAD + "\n" * lint_rules.FILE_LINES),
    ("function-length", "src/core/sample.c", long_function(lint_rules.FUNCTION_LINES)),
    ("complexity", "src/core/sample.c", branching_function(lint_rules.COMPLEXITY)),
    ("complexity", "tests/unit/test_sample.c", branching_function(lint_rules.COMPLEXITY_IN_TESTS)),
    ("complexity", "scripts/tool.py", "# SPDX-License-Identifier: Apache-2.0\ndef f(n):\n" + "    if n: n += 1\n" * 15),
    ("includes", "src/core/sample.h", HEAD + "#include <stdio.h>\n"),
    ("includes", "src/core/sample.h", HEAD + "#include <stdlib.h>\n"),
    ("includes", "src/core/sample.h", HEAD + "#include <sys/socket.h>\n"),
    ("includes", "src/core/sample.h", HEAD + "#include <time.h>\n"),
    ("includes", "src/core/sample.h", HEAD + "#  include <pthread.h>\n"),
    ("includes", "src/core/sample.h", HEAD + '#include "filters/engine.h"\n'),
    ("includes", "src/core/sample.h", HEAD + '#include "sample.h"\n'),
    ("includes", "src/admin/yaml.c", HEAD + '#include "filters/engine.h"\n'),
    ("includes", "src/ebpf/loader.c", HEAD + '#include "filters/engine.h"\n'),
    ("includes", "src/filters/host.c", HEAD + '#include "proxy/loop.h"\n'),
    ("includes", "src/proxy/loop.c", HEAD + '#include "filters/engine.h"\n'),
    ("includes", "src/other/loop.c", HEAD),
    ("banned", "src/core/sample.c", statement("strcpy(a, b);")),
    ("banned", "src/core/sample.c", statement("strcat (a, b);")),
    ("banned", "src/core/sample.c", statement("sprintf(a, b);")),
    ("banned", "src/core/sample.c", statement("strtok(a, b);")),
    ("banned", "src/core/sample.c", statement("int n = atoi(b);")),
    ("banned", "src/core/sample.c", statement("gets(a);")),
    ("banned", "src/proxy/loop.c", statement("sscanf(a, b);")),
    ("banned", "tests/sim/sim.c", statement("strcpy(a, b);")),
    ("banned", "src/core/sample.h", HEAD + "typedef struct sample { int n; } sample;\n"),
    ("marks", "src/core/sample.h", HEAD + "/* TO" "DO: later */\n"),
    ("marks", "docs/notes.md", "FIX" "ME\n"),
    ("marks", "Makefile", "# SPDX-License-Identifier: Apache-2.0\n# XX" "X\n"),
    ("machine-paths", "docs/notes.md", "see /wo" "rk/main\n"),
    ("machine-paths", "docs/notes.md", "see /ho" "me/someone/file\n"),
    ("machine-paths", "native/Cargo.lock", 'source = "sparse+https://mirror.example/index"\n'),
    ("machine-paths", "requirements.txt", GOOD["requirements.txt"] + "--index-url https://mirror.example\n"),
    ("architecture", "ARCHITECTURE.md", "`vx_sample_gone` did it\n"),
    ("architecture", "ARCHITECTURE.md", "`gone()` did it\n"),
    ("architecture", "ARCHITECTURE.md", "`vx_gone_*` did it\n"),
    ("architecture", "ARCHITECTURE.md", "see `src/core/gone.c`\n"),
    ("architecture", "docs/notes.md", "`vx_sample_gone` did it\n"),
    ("state-tables", "src/core/sample.c", table("vx_sample_gone")),
    ("state-tables", "src/core/sample.c", table("vx_sample_get, gone")),
    ("operations", "src/proxy/page.c", GOOD["src/proxy/page.c"].replace("requests", "answers")),
    ("operations", "docs/operations.md", OPERATIONS + "`vortex_gone_total`\n"),
    ("operations", "docs/operations.md", OPERATIONS + "| `gone` | 404 | it went |\n"),
    ("operations", "docs/operations.md", OPERATIONS.replace("404", "400")),
    ("links", "docs/notes.md", "[page](gone.md)\n"),
    ("links", "docs/notes.md", "[page](operations.md#gone)\n"),
    ("test-layout", "tests/unit/core/test_other.c", HEAD),
    ("test-layout", "tests/unit/core/helper.c", HEAD),
    ("test-layout", "tests/fuzz/fuzz_other.c", HEAD),
]


@pytest.mark.parametrize("rule, name, text", BAD, ids=[f"{rule}-{n}" for n, (rule, _, _) in enumerate(BAD)])
def test_bad_sample_is_refused(tmp_path, rule, name, text):
    assert (name, rule) in lint(tmp_path, files={name: text})


def test_architecture_is_required(tmp_path):
    assert ("ARCHITECTURE.md", "architecture") in lint(tmp_path, files={"ARCHITECTURE.md": None})


def test_remarks_in_state_tables_are_no_functions(tmp_path):
    for function in ("vx_sample_get (once)", "vx_sample_get: later", "vx_sample_get, the transport goes on"):
        assert lint(tmp_path, files={"src/core/sample.c": table(function)}) == set()


def test_limits_are_inclusive(tmp_path):
    longest = long_function(lint_rules.FUNCTION_LINES - 3)
    assert lint(tmp_path, files={"src/core/sample.c": longest}) == set()
    widest = branching_function(lint_rules.COMPLEXITY - 1)
    assert lint(tmp_path, files={"src/core/sample.c": widest}) == set()


def test_links_that_lead_somewhere(tmp_path):
    text = "[a](operations.md#reasons) [b](#one-two) [c](https://example.org/x#y) [d](../src/core)\n# One `two`\n"
    assert lint(tmp_path, files={"docs/notes.md": text}) == set()


def test_comments_and_strings_are_not_code(tmp_path):
    text = HEAD + '/* strcpy(a, b) */\nconst char *vx_sample_get(void) { return "sprintf(x)"; } // atoi(x)\n'
    assert lint(tmp_path, files={"src/core/sample.c": text}) == set()


def archive_of(tmp_path, library, source):
    """A build folder with one compiled library in it."""
    (tmp_path / "sample.c").write_text(source)
    flags = ["-O2", "-c", "-fno-pie", "-ffunction-sections", "-fdata-sections", "-flto", "-ffat-lto-objects"]
    subprocess.run(["cc", *flags, "sample.c", "-o", "sample.o"], cwd=tmp_path, check=True)
    subprocess.run(["gcc-ar", "rcs", f"libvortex_{library}.a", "sample.o"], cwd=tmp_path, check=True)


def binary_findings(tmp_path, library, source):
    archive_of(tmp_path, "core", "int vx_a(int n); int vx_a(int n) { return n; }")
    archive_of(tmp_path, library, source)
    return {f.rule for f in lint_binary.binary_rules(ROOT, tmp_path)}


CLEAN = """
#include <string.h>
struct row { const char *name; };
static const struct row rows[] = {{"a"}, {"b"}};
void vx_sample_copy(char *to, const char *from, size_t n);
const char *vx_sample_name(int n);
void vx_sample_copy(char *to, const char *from, size_t n) { memcpy(to, from, n); }
const char *vx_sample_name(int n) { return rows[n & 1].name; }
"""
BAD_CORE = {
    "malloc": "#include <stdlib.h>\nvoid *vx_a(void); void *vx_a(void) { return malloc(3); }",
    "printf": "#include <stdio.h>\nvoid vx_a(int n); void vx_a(int n) { printf(\"%d\", n); }",
    "clock": "#include <time.h>\nlong vx_a(void); long vx_a(void) { return (long)time(0); }",
    "socket": "#include <sys/socket.h>\nint vx_a(void); int vx_a(void) { return socket(1, 1, 0); }",
}
BAD_GLOBALS = {
    "initialised": "int vx_count = 3;",
    "zero": "static int count; int vx_a(void); int vx_a(void) { return count++; }",
    "inside": "int vx_a(void); int vx_a(void) { static int count; return count++; }",
    "thread": "static _Thread_local int count; int vx_a(void); int vx_a(void) { return count++; }",
}


@pytest.mark.parametrize("library", ["core", "proxy"])
def test_clean_library_passes(tmp_path, library):
    assert binary_findings(tmp_path, library, CLEAN) == set()


@pytest.mark.parametrize("name", BAD_CORE)
def test_core_reaching_outside_is_refused(tmp_path, name):
    assert "core-symbols" in binary_findings(tmp_path, "core", BAD_CORE[name])
    assert binary_findings(tmp_path, "proxy", BAD_CORE[name]) == set()


@pytest.mark.parametrize("name", BAD_GLOBALS)
@pytest.mark.parametrize("library", ["core", "filters"])
def test_mutable_global_is_refused(tmp_path, library, name):
    assert "globals" in binary_findings(tmp_path, library, BAD_GLOBALS[name])


def test_foreign_public_name_is_refused(tmp_path):
    assert binary_findings(tmp_path, "admin", "int help(void); int help(void) { return 1; }") == {"names"}


def test_missing_core_is_refused(tmp_path):
    assert {f.rule for f in lint_binary.binary_rules(ROOT, tmp_path)} == {"core-symbols"}


def small_tree(root, source):
    """A tree with one file that CMake would compile."""
    file = root / "src/core/sample.c"
    file.parent.mkdir(parents=True)
    file.write_text(source)
    for name in (".clang-format", ".clang-tidy"):
        (root / name).write_text((ROOT / name).read_text())
    build = root / "build"
    build.mkdir()
    (build / "compile_commands.json").write_text(
        f'[{{"directory": "{build}", "command": "cc -std=gnu11 -O2 -c {file}", "file": "{file}"}}]')
    return root


def run_lint(root, part):
    """Exit code and output of one part of lint.py."""
    command = [sys.executable, str(ROOT / "scripts/lint.py"), "--only", part, "--root", str(root)]
    env = {"PATH": "/usr/bin:/bin", "XDG_CACHE_HOME": str(root / "cache"), "HOME": str(root)}
    result = subprocess.run(command, capture_output=True, text=True, env=env)
    return result.returncode, result.stdout + result.stderr


TIDY = HEAD + "int vx_sample_get(int n) {\n    return n;\n}\n"


@pytest.mark.parametrize("part", ["format", "tidy"])
def test_clang_passes_a_good_file(tmp_path, part):
    code, output = run_lint(small_tree(tmp_path, TIDY), part)
    assert code == 0 and "lint: clean" in output


def test_format_refuses(tmp_path):
    code, output = run_lint(small_tree(tmp_path, HEAD + "int  vx_sample_get(int n){return n;}\n"), "format")
    assert code == 1 and "src/core/sample.c:3: [format]" in output


def test_tidy_refuses_again_and_again(tmp_path):
    root = small_tree(tmp_path, HEAD + "int vx_sample_get(void) {\n    int *p = 0;\n    return *p;\n}\n")
    for _ in range(2):
        code, output = run_lint(root, "tidy")
        assert code == 1 and "src/core/sample.c:5: [tidy]" in output


def test_tidy_looks_again_at_what_a_header_changed(tmp_path):
    root = small_tree(tmp_path, HEAD + '#include "sample.h"\nint vx_sample_get(void) {\n    return get();\n}\n')
    header = root / "src/core/sample.h"
    header.write_text(HEAD + "static inline int get(void) {\n    return 1;\n}\n")
    assert run_lint(root, "tidy")[0] == 0
    assert "reads 0 of 1 files" in run_lint(root, "tidy")[1]
    header.write_text(HEAD + "static inline int get(void) {\n    int *p = 0;\n    return *p;\n}\n")
    assert run_lint(root, "tidy")[0] == 1
