package web

import (
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"
)

// Server answers with h, and waits for nobody for long: a request is some headers, and the largest answer some
// megabytes.
func Server(h http.Handler) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       20 * time.Second,
		WriteTimeout:      5 * time.Minute,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
	}
}

// Only answers requests whose Host is where the page is served: on a loopback address its names, and the host that the
// user gave; where every address is served, each address too. A site whose name leads to this machine is none of them,
// so that it cannot read what is served here (DNS rebinding). Ports may differ, as a tunnel's do.
func Only(h http.Handler, given string, served net.Addr) http.Handler {
	name := hostOf(given)
	everywhere := false
	if tcp, ok := served.(*net.TCPAddr); ok {
		everywhere = !tcp.IP.IsLoopback()
	}
	return http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		host := hostOf(request.Host)
		ip := net.ParseIP(host)
		switch {
		case host == "localhost", name != "" && host == name, ip != nil && (everywhere || ip.IsLoopback()):
			h.ServeHTTP(w, request)
		default:
			http.Error(w, fmt.Sprintf("the page is not served as %q: --addr %s:PORT serves it under that name", host, host),
				http.StatusMisdirectedRequest)
		}
	})
}

// hostOf is HOST of HOST, HOST:PORT or [HOST]:PORT, in lower case.
func hostOf(address string) string {
	if host, _, err := net.SplitHostPort(address); err == nil {
		address = host
	}
	return strings.ToLower(strings.TrimSuffix(strings.Trim(address, "[]"), "."))
}
