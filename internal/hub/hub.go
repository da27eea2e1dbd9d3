//go:build !js

package hub

import (
	"cmp"
	"errors"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"qlora-wgpu/internal/files"
	"qlora-wgpu/internal/usererr"
)

// Hub is a hub with the cache of what came from it.
type Hub struct {
	Endpoint string // "https://huggingface.co"
	Cache    string // folder
	Token    string // sent to the endpoint's host alone; empty: none
	Offline  bool   // nothing is asked of the network

	Client *http.Client
	// Progress hears of the bytes of a fetch: those that are here, of all; nil: nobody wants to know.
	Progress func(done, total int64)
	// Say hears what the user should know: that the network is away and what is taken in its place; nil: nobody does.
	Say func(line string)

	part  int64         // bytes of a file that are asked for at a time
	quiet time.Duration // without a byte, after which a request is given up
	wait  time.Duration // before the second try; each further waits twice as long
}

// FromEnvironment is the hub as Hugging Face's libraries find it: HF_ENDPOINT, HF_HUB_CACHE, HF_HOME, XDG_CACHE_HOME,
// HF_TOKEN, HF_TOKEN_PATH, HF_HUB_DISABLE_IMPLICIT_TOKEN, HF_HUB_OFFLINE (huggingface_hub's constants.py); proxies by
// HTTPS_PROXY, HTTP_PROXY and NO_PROXY.
func FromEnvironment() (*Hub, error) { return fromEnvironment(os.Getenv) }

func fromEnvironment(env func(string) string) (*Hub, error) {
	home, err := os.UserHomeDir()
	if err != nil && env("HF_HOME") == "" && env("HF_HUB_CACHE") == "" {
		return nil, err
	}
	full := func(path string) string {
		if rest, ok := strings.CutPrefix(path, "~"); ok && (rest == "" || os.IsPathSeparator(rest[0])) {
			path = home + rest
		}
		return os.Expand(path, env)
	}
	folder := full(cmp.Or(env("HF_HOME"), filepath.Join(cmp.Or(env("XDG_CACHE_HOME"), filepath.Join(home, ".cache")), "huggingface")))
	h := New(strings.TrimRight(cmp.Or(env("HF_ENDPOINT"), "https://huggingface.co"), "/"),
		full(cmp.Or(env("HF_HUB_CACHE"), env("HUGGINGFACE_HUB_CACHE"), filepath.Join(folder, "hub"))))
	h.Offline = isSet(cmp.Or(env("HF_HUB_OFFLINE"), env("TRANSFORMERS_OFFLINE")))
	if isSet(env("HF_HUB_DISABLE_IMPLICIT_TOKEN")) {
		return h, nil
	}
	if h.Token = strings.TrimSpace(cmp.Or(env("HF_TOKEN"), env("HUGGING_FACE_HUB_TOKEN"))); h.Token == "" {
		path := full(cmp.Or(env("HF_TOKEN_PATH"), filepath.Join(folder, "token")))
		text, err := files.Read(path, maxToken)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, usererr.New("read the hub's token", path, "%w", err).
				Hinted("HF_TOKEN_PATH or HF_HOME says where it is; with HF_HUB_DISABLE_IMPLICIT_TOKEN=1 none is read")
		}
		h.Token = strings.TrimSpace(string(text))
	}
	if strings.ContainsFunc(h.Token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return nil, usererr.New("read the hub's token", "", "it has characters that no token has").
			Hinted("HF_TOKEN, or the file that HF_TOKEN_PATH names, holds hf_ with letters and digits behind it, and nothing else")
	}
	return h, nil
}

const maxToken = 64 << 10 // bytes of its file

// isSet reads a switch as huggingface_hub does.
func isSet(value string) bool {
	switch strings.ToUpper(value) {
	case "1", "ON", "YES", "TRUE":
		return true
	}
	return false
}

// New is a hub without a token.
func New(endpoint, cache string) *Hub {
	h := &Hub{Endpoint: endpoint, Cache: cache, part: 16 << 20, quiet: 30 * time.Second, wait: 500 * time.Millisecond}
	h.Client = &http.Client{Transport: http.DefaultTransport, CheckRedirect: func(to *http.Request, via []*http.Request) error {
		if len(via) >= 10 {
			return errors.New("ten redirects")
		}
		if to.URL.Host != via[0].URL.Host || to.URL.Scheme != via[0].URL.Scheme {
			to.Header.Del("Authorization") // files lie on hosts that are no business of the token
		}
		return nil
	}}
	return h
}

func (h *Hub) say(line string) {
	if h.Say != nil {
		h.Say(line)
	}
}
