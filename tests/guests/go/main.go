// SPDX-License-Identifier: Apache-2.0

// A plugin on the Go SDK: edits headers and bodies of both directions, keeps a counter, and answers for itself.
package main

import (
	"bytes"

	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm"
	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm/types"
)

func main() {}

func init() { proxywasm.SetVMContext(&vm{}) }

type vm struct{ types.DefaultVMContext }

func (*vm) NewPluginContext(uint32) types.PluginContext { return &plugin{} }

type plugin struct {
	types.DefaultPluginContext
	config   string
	requests proxywasm.MetricCounter
}

func (p *plugin) OnPluginStart(int) types.OnPluginStartStatus {
	data, err := proxywasm.GetPluginConfiguration()
	if err != nil && err != types.ErrorStatusNotFound {
		return types.OnPluginStartStatusFailed
	}
	p.config = string(data)
	p.requests = proxywasm.DefineCounterMetric("go_requests")
	proxywasm.LogInfof("the Go plugin has %q", p.config)
	return types.OnPluginStartStatusOK
}

func (p *plugin) NewHttpContext(uint32) types.HttpContext { return &stream{plugin: p} }

type stream struct {
	types.DefaultHttpContext
	plugin *plugin
}

func (s *stream) OnHttpRequestHeaders(int, bool) types.Action {
	s.plugin.requests.Increment(1)
	headers, err := proxywasm.GetHttpRequestHeaders()
	if err != nil {
		proxywasm.LogErrorf("headers: %v", err)
	}
	for _, h := range headers {
		if h[0] == "x-deny" {
			if err := proxywasm.SendHttpResponse(403, [][2]string{{"x-by", "go"}}, []byte("denied by Go"), -1); err != nil {
				proxywasm.LogErrorf("answer: %v", err)
			}
			return types.ActionPause
		}
	}
	proxywasm.AddHttpRequestHeader("x-go", s.plugin.config)
	proxywasm.RemoveHttpRequestHeader("content-length")
	return types.ActionContinue
}

func (s *stream) OnHttpRequestBody(size int, end bool) types.Action {
	if !end {
		return types.ActionPause
	}
	body, err := proxywasm.GetHttpRequestBody(0, size)
	if err == nil && size > 0 {
		proxywasm.ReplaceHttpRequestBody(append(bytes.ToUpper(body), " (by Go)"...))
	}
	return types.ActionContinue
}

func (s *stream) OnHttpResponseHeaders(int, bool) types.Action {
	path, err := proxywasm.GetProperty([]string{"request", "path"})
	if err == nil {
		proxywasm.AddHttpResponseHeader("x-go-path", string(path))
	}
	return types.ActionContinue
}
