// SPDX-License-Identifier: Apache-2.0

//go:build tools

// Package h2spec pins the conformance test that tests/integration/test_h2spec.py builds from here, with what it needs.
package h2spec

import _ "github.com/summerwind/h2spec/cmd/h2spec"
