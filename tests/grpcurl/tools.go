// SPDX-License-Identifier: Apache-2.0

//go:build tools

// Package grpcurl pins the gRPC client that tests/integration/test_admin.py builds from here, with what it needs.
package grpcurl

import _ "github.com/fullstorydev/grpcurl/cmd/grpcurl"
