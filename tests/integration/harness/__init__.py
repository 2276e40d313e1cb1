# SPDX-License-Identifier: Apache-2.0
"""Helpers of the integration tests: peers on both sides of the proxy that can be told to misbehave."""
