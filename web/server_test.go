package web

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"
)

// A site whose name leads here gets nothing.
func TestHostIsChecked(t *testing.T) {
	page := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "page") })
	for _, c := range []struct {
		given, served string
		hosts         map[string]int
	}{
		{"127.0.0.1:8080", "127.0.0.1:8080", map[string]int{
			"127.0.0.1:8080": 200, "localhost:8080": 200, "LOCALHOST.": 200, "[::1]:8080": 200, "localhost:9000": 200, "127.0.0.1": 200,
			"evil.example:8080": 421, "127.0.0.1.evil.example": 421, "localhost.evil.example": 421, "": 421, "10.0.0.1:8080": 421,
			"evil.example#localhost": 421, "[::1": 200,
		}},
		{":8080", "[::]:8080", map[string]int{"10.0.0.1:8080": 200, "[fe80::1]:8080": 200, "box:8080": 421, "localhost": 200}},
		{"box:8080", "10.0.0.1:8080", map[string]int{"box:8080": 200, "BOX": 200, "10.0.0.1:8080": 200, "evil.example": 421}},
	} {
		served, err := net.ResolveTCPAddr("tcp", c.served)
		require.NoError(t, err)
		h := Only(page, c.given, served)
		for host, status := range c.hosts {
			request := httptest.NewRequest("GET", "/", nil)
			request.Host = host
			w := httptest.NewRecorder()
			h.ServeHTTP(w, request)
			require.Equal(t, status, w.Code, "%s as %q", c.given, host)
			require.Equal(t, status == 200, w.Body.String() == "page")
		}
	}
}

// Whoever connects and says nothing, or does not take the answer, or says too much, is let go.
func TestNobodyIsWaitedFor(t *testing.T) {
	large := strings.Repeat("x", 64<<20)
	server := Server(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, large) // fails where the other side is too slow
	}))
	for _, limit := range []time.Duration{server.ReadHeaderTimeout, server.ReadTimeout, server.WriteTimeout, server.IdleTimeout} {
		require.Positive(t, limit)
		require.LessOrEqual(t, limit, 5*time.Minute)
	}
	// The same server, in less time.
	const soon = 300 * time.Millisecond
	server.ReadHeaderTimeout, server.ReadTimeout, server.WriteTimeout, server.IdleTimeout = soon, soon, soon, soon
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	go server.Serve(listener)
	defer server.Close()
	dial := func(text string) net.Conn {
		c, err := net.Dial("tcp", listener.Addr().String())
		require.NoError(t, err)
		require.NoError(t, c.SetDeadline(time.Now().Add(20*time.Second)))
		_, _ = io.WriteString(c, text) // the server may have closed while it was written
		return c
	}
	for name, text := range map[string]string{"nothing": "", "half a request": "GET / HTTP/1.1\r\nHost: localh"} {
		c := dial(text)
		_, err := io.ReadAll(c)
		require.NoError(t, err, "%s: closed by the server", name)
		c.Close()
	}
	c := dial("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
	time.Sleep(4 * soon)
	got, _ := io.Copy(io.Discard, c)
	require.Less(t, got, int64(len(large)), "cut off: nobody read for too long")
	c.Close()

	c = dial("GET / HTTP/1.1\r\nHost: localhost\r\nX: " + strings.Repeat("x", 64<<10) + "\r\n\r\n")
	line, err := bufio.NewReader(c).ReadString('\n')
	if err == nil { // it may be reset before it is read
		require.Contains(t, line, "431")
	}
	c.Close()
}

// What is not packed for whoever asks is unpacked once.
func TestUnpackedOnce(t *testing.T) {
	text := strings.Repeat("wasm", 1<<20)
	h, err := newHandler(fstest.MapFS{
		"index.html": {Data: []byte("page")}, "engine.wasm.gz": {Data: packed(t, text)}, "engine.wasm.br": {Data: []byte("brotli wasm")},
	})
	require.NoError(t, err)
	ask := func() {
		request := httptest.NewRequest("HEAD", "/engine.wasm", nil)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, request)
		require.Equal(t, fmt.Sprint(len(text)), w.Header().Get("Content-Length"))
	}
	ask()
	bytes := testing.Benchmark(func(b *testing.B) {
		for b.Loop() {
			ask()
		}
	}).AllocedBytesPerOp()
	require.Less(t, bytes, int64(1<<20), "4 MiB each time otherwise")
}
