//go:build tools

// Package tools pins the h2spec that tests/proxy/h2spec_test.py runs (hack/go-tools builds it from these modules).
package tools

import _ "github.com/summerwind/h2spec/cmd/h2spec"
