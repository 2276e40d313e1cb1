# SPDX-License-Identifier: Apache-2.0
"""Waiting for facts instead of sleeping."""

import time


def wait_until(condition, timeout=15.0, what="the condition", interval=0.02):
    """Polls until condition() is true and returns its value; AssertionError after the (generous) timeout."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not come true within {timeout} s")
        time.sleep(interval)
