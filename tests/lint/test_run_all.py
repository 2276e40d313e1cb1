# SPDX-License-Identifier: Apache-2.0
"""tests/run-all counts what ran: a count that hides a failure would hide it everywhere."""

import importlib.util
import subprocess
import xml.etree.ElementTree as ElementTree
from importlib.machinery import SourceFileLoader
from pathlib import Path

import pytest

PATH = Path(__file__).resolve().parents[1] / "run-all"


@pytest.fixture(scope="module")
def run_all():
    loader = SourceFileLoader("run_all", str(PATH))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("run_all", loader))
    loader.exec_module(module)
    return module


GROUP = "[==========] 3 test(s) run.\n"
CASES = [
    ("run", GROUP + "[  PASSED  ] 3 test(s).\n", (3, 0)),
    ("run", GROUP + "[  PASSED  ] 3 test(s).\n" + GROUP + "[  PASSED  ] 2 test(s).\n", (5, 0)),
    ("fail", GROUP + "[  PASSED  ] 2 test(s).\n[  FAILED  ] tests: 1 test(s), listed below:\n", (2, 1)),
    ("fail", GROUP + "[  PASSED  ] 0 test(s).\n[  FAILED  ] tests: 3 test(s), listed below:\n", (0, 3)),
    ("run", "a program without cmocka\n", (1, 0)),
    ("fail", "ended by a signal\n", (0, 1)),
    ("fail", GROUP + "[  PASSED  ] 3 test(s).\nERROR: LeakSanitizer: detected memory leaks\n", (3, 1)),
    ("notrun", "", (0, 1)),
]


@pytest.mark.parametrize("status, output, expected", CASES)
def test_counts_of_one_program(run_all, status, output, expected):
    case = ElementTree.Element("testcase", {"name": "sample", "status": status})
    ElementTree.SubElement(case, "system-out").text = output
    assert run_all.count_case(case) == expected


SAMPLE = """
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
static void good(void **state) { (void)state; }
static void bad(void **state) { (void)state; assert_int_equal(1, 2); }
int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(good), cmocka_unit_test(bad), cmocka_unit_test(good)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
"""


def test_the_installed_cmocka_is_understood(run_all, tmp_path):
    (tmp_path / "sample.c").write_text(SAMPLE)
    subprocess.run(["cc", "sample.c", "-o", "sample", "-lcmocka"], cwd=tmp_path, check=True)
    result = subprocess.run(["./sample"], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert result.returncode != 0
    case = ElementTree.Element("testcase", {"name": "sample", "status": "fail"})
    ElementTree.SubElement(case, "system-out").text = result.stdout
    assert run_all.count_case(case) == (2, 1)
