package web

import (
	"bytes"
	"compress/gzip"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/internal/usererr"
)

func packed(t *testing.T, text string) []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, err := z.Write([]byte(text))
	require.NoError(t, err)
	require.NoError(t, z.Close())
	return b.Bytes()
}

func get(t *testing.T, h http.Handler, method, url, encoding, tag string) *httptest.ResponseRecorder {
	request := httptest.NewRequest(method, url, nil)
	request.Header.Set("Accept-Encoding", encoding)
	request.Header.Set("If-None-Match", tag)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, request)
	return w
}

func TestHandler(t *testing.T) {
	h, err := newHandler(fstest.MapFS{
		"placeholder.txt": {Data: []byte("x")},
		"index.html.gz":   {Data: packed(t, "<p>page")}, "index.html.br": {Data: []byte("brotli page")},
		"engine.wasm.gz": {Data: packed(t, "wasm")}, "engine.wasm.br": {Data: []byte("brotli wasm")},
		"demo/model.safetensors": {Data: []byte("weights")},
	})
	require.NoError(t, err)
	for _, c := range []struct{ url, accept, body, coding, kind string }{
		{"/", "gzip, deflate, br", "brotli page", "br", "text/html; charset=utf-8"},
		{"/engine.wasm", "br;q=0, gzip;q=0.5", string(packed(t, "wasm")), "gzip", "application/wasm"},
		{"/engine.wasm", "", "wasm", "", "application/wasm"},
		{"/demo/../demo/model.safetensors", "br", "weights", "", "application/octet-stream"},
	} {
		w := get(t, h, "GET", c.url, c.accept, "")
		require.Equal(t, 200, w.Code, c.url)
		require.Equal(t, c.body, w.Body.String(), c.url)
		require.Equal(t, c.coding, w.Header().Get("Content-Encoding"), c.url)
		require.Equal(t, c.kind, w.Header().Get("Content-Type"), c.url)
		require.Equal(t, Policy+"; frame-ancestors 'none'", w.Header().Get("Content-Security-Policy"))
		again := get(t, h, "GET", c.url, c.accept, w.Header().Get("ETag"))
		require.Equal(t, 304, again.Code)
		require.Empty(t, again.Body.String())
		require.Empty(t, get(t, h, "HEAD", c.url, c.accept, "").Body.String())
	}
	require.Equal(t, 404, get(t, h, "GET", "/../web.go", "", "").Code)
	require.Equal(t, 404, get(t, h, "GET", "/engine.wasm.br", "", "").Code)
	require.Equal(t, 405, get(t, h, "POST", "/", "", "").Code)
}

func TestWithoutThePage(t *testing.T) {
	_, err := newHandler(fstest.MapFS{"placeholder.txt": {Data: []byte("x")}})
	require.True(t, usererr.Is(err, usererr.Invalid))
	require.EqualError(t, err, "serve the page: this program was built without it (run  make web  and then  make build  in its source folder)")
	_, err = newHandler(fstest.MapFS{"index.html": {}, "engine.wasm": {}, "strange.bin": {}})
	require.ErrorContains(t, err, "strange.bin has no known type")
}

// Hosts that send no headers get the same policy from the page itself.
func TestPolicyOfThePage(t *testing.T) {
	page, err := os.ReadFile("page/index.html")
	require.NoError(t, err)
	require.Contains(t, strings.Join(strings.Fields(string(page)), " "), `http-equiv="Content-Security-Policy" content="`+Policy+`"`)
}
