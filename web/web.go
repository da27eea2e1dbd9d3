// Package web serves the page that fine-tunes in a browser tab. `make web` builds it into the folder built, from where
// it is embedded.
package web

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"path"
	"strconv"
	"strings"
	"sync"

	"qlora-wgpu/internal/usererr"
)

//go:embed all:built
var built embed.FS

// types are the MIME types of everything that the page is made of: a browser compiles WebAssembly and runs modules only
// under the right one.
var types = map[string]string{
	".html": "text/html; charset=utf-8", ".css": "text/css; charset=utf-8",
	".js": "text/javascript; charset=utf-8", ".wasm": "application/wasm",
	".json": "application/json", ".jsonl": "application/jsonl; charset=utf-8", ".svg": "image/svg+xml", ".txt": "text/plain; charset=utf-8",
	".safetensors": "application/octet-stream",
}

// Policy is the page's Content-Security-Policy; index.html has it too, for hosts that send no headers. Only the page's
// own origin is reached, and the hub with its stores of files where the user asks for a model of it: a policy cannot
// change later.
const Policy = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; connect-src 'self' https://huggingface.co " +
	"https://*.huggingface.co https://*.hf.co; style-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'"

// notFramed is the part of the policy that browsers take from a header alone: no other site shows the page as its own.
const notFramed = "; frame-ancestors 'none'"

// Handler serves the page. A program that was built without it gives a *usererr.Error.
func Handler() (http.Handler, error) {
	pages, err := fs.Sub(built, "built")
	if err != nil {
		return nil, fmt.Errorf("serve the page: %w", err)
	}
	return newHandler(pages)
}

// resource is one file in the forms in which it can be sent.
type resource struct {
	kind    string
	tag     string                 // for If-None-Match
	encoded map[string][]byte      // by content coding; "" is the file itself
	plain   func() ([]byte, error) // the file itself, unpacked once
}

// newHandler takes the files of a folder: NAME, or NAME.br with NAME.gz.
func newHandler(pages fs.FS) (http.Handler, error) {
	resources := map[string]*resource{}
	err := fs.WalkDir(pages, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		data, err := fs.ReadFile(pages, name)
		if err != nil {
			return err
		}
		coding := ""
		for suffix, c := range map[string]string{".br": "br", ".gz": "gzip"} {
			if plain, found := strings.CutSuffix(name, suffix); found {
				name, coding = plain, c
			}
		}
		kind := types[path.Ext(name)]
		if kind == "" {
			return fmt.Errorf("the page's %s has no known type", name)
		}
		r := resources[name]
		if r == nil {
			r = &resource{kind: kind, encoded: map[string][]byte{}}
			resources[name] = r
		}
		r.encoded[coding] = data
		sum := sha256.Sum256(append([]byte(r.tag), data...))
		r.tag = hex.EncodeToString(sum[:8])
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("serve the page: %w", err)
	}
	for _, r := range resources {
		r.plain = sync.OnceValues(func() ([]byte, error) { return unpack(r.encoded["gzip"]) })
	}
	if resources["index.html"] == nil || resources["engine.wasm"] == nil {
		return nil, usererr.New("serve the page", "", "this program was built without it").
			Hinted("run  make web  and then  make build  in its source folder")
	}
	return http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		name := strings.TrimPrefix(path.Clean(request.URL.Path), "/")
		if name == "" {
			name = "index.html"
		}
		r := resources[name]
		switch {
		case request.Method != http.MethodGet && request.Method != http.MethodHead:
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "only GET and HEAD", http.StatusMethodNotAllowed)
		case r == nil:
			http.NotFound(w, request)
		default:
			r.serve(w, request)
		}
	}), nil
}

func (r *resource) serve(w http.ResponseWriter, request *http.Request) {
	coding := ""
	for _, c := range []string{"br", "gzip"} { // the smaller first
		if r.encoded[c] != nil && accepts(request.Header.Get("Accept-Encoding"), c) {
			coding = c
			break
		}
	}
	data, there := r.encoded[coding]
	if !there {
		var err error
		if data, err = r.plain(); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
	}
	h := w.Header()
	h.Set("Content-Type", r.kind)
	h.Set("Content-Security-Policy", Policy+notFramed)
	h.Set("X-Frame-Options", "DENY")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Vary", "Accept-Encoding")
	h.Set("Cache-Control", "no-cache")
	tag := strconv.Quote(r.tag + coding)
	h.Set("ETag", tag)
	if request.Header.Get("If-None-Match") == tag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	if coding != "" {
		h.Set("Content-Encoding", coding)
	}
	h.Set("Content-Length", strconv.Itoa(len(data)))
	if request.Method == http.MethodGet {
		_, _ = w.Write(data) // whoever asked may have gone
	}
}

// accepts tells whether an Accept-Encoding header allows a coding.
func accepts(header, coding string) bool {
	for part := range strings.SplitSeq(header, ",") {
		name, quality, _ := strings.Cut(part, ";")
		if strings.EqualFold(strings.TrimSpace(name), coding) {
			_, value, _ := strings.Cut(quality, "=")
			q, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			return err != nil || q > 0
		}
	}
	return false
}

func unpack(data []byte) ([]byte, error) {
	z, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(z)
}
