// Package hubtest is a hub for tests: the parts of the Hugging Face hub's interface that a client of files needs, with
// the files of large-file storage on a host of their own, and with every fault that a test wants.
package hubtest

import (
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// Repo is a repository.
type Repo struct {
	Files    map[string][]byte
	Large    map[string]bool // files in large-file storage
	Branches []string        // beside main
	Gated    bool            // to those without the token
	Private  bool
	Listed   map[string]string // names in its list, for others in its files
	// a branch of other files than main's, and its commit
	Branch     string
	Other      *Repo
	OtherSaved string
}

// at is what a revision holds, and its commit.
func (r *Repo) at(revision string) (*Repo, string) {
	if r.Other != nil && (revision == r.Branch || revision == r.OtherSaved) {
		return r.Other, r.OtherSaved
	}
	return r, Commit
}

// Token is the one that opens what is gated or private.
const Token = "hf_hubtest"

// Commit is that of all branches.
const Commit = "0123456789abcdef0123456789abcdef01234567"

// Server is a hub. Repos are named "models/owner/name".
type Server struct {
	Repos map[string]*Repo
	// Fault answers in the server's place where it returns true; storage tells that large files are asked for.
	Fault func(w http.ResponseWriter, r *http.Request, storage bool) bool

	Endpoint string // of the hub
	storage  string // of large files

	mu     sync.Mutex
	served map[string]int64 // bytes of each file that were written
	asked  int
	leaks  int // tokens that were sent to the storage
}

// New starts a hub that ends with the test.
func New(t testing.TB) *Server {
	s := &Server{Repos: map[string]*Repo{}, served: map[string]int64{}}
	hub, storage := httptest.NewServer(http.HandlerFunc(s.hub)), httptest.NewServer(http.HandlerFunc(s.store))
	s.Endpoint, s.storage = hub.URL, storage.URL
	t.Cleanup(func() { hub.CloseClientConnections(); hub.Close(); storage.CloseClientConnections(); storage.Close() })
	return s
}

// Served counts the bytes of a file that were written to anybody.
func (s *Server) Served(file string) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.served[file]
}

// Asked counts all requests, and those to the storage that bore a token.
func (s *Server) Asked() (requests, leaks int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked, s.leaks
}

// Hash is the name of a file's blob.
func (r *Repo) Hash(name string) string {
	if r.Large[name] {
		sum := sha256.Sum256(r.Files[name])
		return hex.EncodeToString(sum[:])
	}
	sum := sha1.Sum(append(fmt.Appendf(nil, "blob %d\x00", len(r.Files[name])), r.Files[name]...))
	return hex.EncodeToString(sum[:])
}

func (s *Server) hub(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.asked++
	s.mu.Unlock()
	if s.Fault == nil || !s.Fault(w, r, false) {
		s.answer(w, r, false)
	}
}

// answer is that of a server without faults.
func (s *Server) answer(w http.ResponseWriter, r *http.Request, storage bool) {
	if storage {
		file := r.URL.Query().Get("file")
		repo, _ := s.Repos[strings.TrimPrefix(r.URL.Path, "/")].at(r.URL.Query().Get("at"))
		w.Header().Set("ETag", `"`+repo.Hash(file)+`"`)
		s.send(w, r, file, repo.Files[file])
		return
	}
	parts := strings.Split(strings.TrimPrefix(r.URL.EscapedPath(), "/"), "/")
	for i := range parts {
		parts[i], _ = url.PathUnescape(parts[i])
	}
	switch {
	case len(parts) == 6 && parts[0] == "api" && parts[4] == "revision":
		s.info(w, r, strings.Join(parts[1:4], "/"), parts[5])
	case len(parts) == 4 && parts[0] == "api":
		s.info(w, r, strings.Join(parts[1:4], "/"), "main")
	case len(parts) == 6 && parts[0] == "api" && parts[4] == "tree":
		s.tree(w, r, strings.Join(parts[1:4], "/"), parts[5])
	case len(parts) > 4 && parts[2] == "resolve":
		s.resolve(w, r, "models/"+parts[0]+"/"+parts[1], parts[3], strings.Join(parts[4:], "/"))
	case len(parts) > 5 && parts[0] == "datasets" && parts[3] == "resolve":
		s.resolve(w, r, strings.Join(parts[:3], "/"), parts[4], strings.Join(parts[5:], "/"))
	default:
		http.NotFound(w, r)
	}
}

// allowed gives a repository to those who may see it, and else the hub's refusal.
func (s *Server) allowed(w http.ResponseWriter, r *http.Request, name, revision string, files bool) *Repo {
	refuse := func(status int, code string) *Repo {
		w.Header().Set("X-Error-Code", code)
		http.Error(w, code, status)
		return nil
	}
	known := r.Header.Get("Authorization") == "Bearer "+Token
	repo := s.Repos[name]
	switch {
	case repo == nil && !known, repo != nil && repo.Private && !known: // as the hub does, which tells nobody which
		return refuse(http.StatusUnauthorized, "RepoNotFound")
	case repo == nil:
		return refuse(http.StatusNotFound, "RepoNotFound")
	case repo.Gated && !known && files:
		return refuse(http.StatusUnauthorized, "GatedRepo")
	}
	held, commit := repo.at(revision)
	if revision != "main" && revision != commit && held == repo && !slices.Contains(repo.Branches, revision) {
		return refuse(http.StatusNotFound, "RevisionNotFound")
	}
	w.Header().Set("X-Repo-Commit", commit)
	return held
}

func (s *Server) info(w http.ResponseWriter, r *http.Request, name, revision string) {
	repo := s.allowed(w, r, name, revision, false)
	if repo == nil {
		return
	}
	siblings := []map[string]any{}
	for _, file := range slices.Sorted(maps.Keys(repo.Files)) {
		siblings = append(siblings, map[string]any{"rfilename": file})
	}
	_, id, _ := strings.Cut(name, "/")
	answer(w, map[string]any{"_id": "0", "id": id, "sha": w.Header().Get("X-Repo-Commit"), "private": repo.Private,
		"gated": repo.Gated, "disabled": false,
		"downloads": 1, "likes": 1, "tags": []string{}, "siblings": siblings})
}

func answer(w http.ResponseWriter, what any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(what)
}

// page is how many files a list has before a link leads to more.
const page = 5

func (s *Server) tree(w http.ResponseWriter, r *http.Request, name, revision string) {
	repo := s.allowed(w, r, name, revision, false)
	if repo == nil {
		return
	}
	entries := []map[string]any{{"type": "directory", "oid": Commit, "size": 0, "path": "folder"}}
	for _, file := range slices.Sorted(maps.Keys(repo.Files)) {
		path := file
		if other, ok := repo.Listed[file]; ok {
			path = other
		}
		size := len(repo.Files[file])
		entry := map[string]any{"type": "file", "path": path, "size": size, "oid": (&Repo{Files: repo.Files}).Hash(file)}
		if repo.Large[file] {
			entry["lfs"] = map[string]any{"oid": repo.Hash(file), "size": size, "pointerSize": 135}
		}
		entries = append(entries, entry)
	}
	at, _ := strconv.Atoi(r.URL.Query().Get("cursor"))
	rest := entries[min(at, len(entries)):]
	if len(rest) > page {
		rest = rest[:page]
		query := r.URL.Query()
		query.Set("cursor", strconv.Itoa(at+page))
		w.Header().Set("Link", fmt.Sprintf(`<%s%s?%s>; rel="next"`, s.Endpoint, r.URL.EscapedPath(), query.Encode()))
	}
	answer(w, rest)
}

func (s *Server) resolve(w http.ResponseWriter, r *http.Request, name, revision, file string) {
	repo := s.allowed(w, r, name, revision, true)
	if repo == nil {
		return
	}
	data, ok := repo.Files[file]
	if !ok {
		w.Header().Set("X-Error-Code", "EntryNotFound")
		http.Error(w, "Entry not found", http.StatusNotFound)
		return
	}
	w.Header().Set("Accept-Ranges", "bytes")
	if repo.Large[file] {
		w.Header().Set("X-Linked-Etag", `"`+repo.Hash(file)+`"`)
		w.Header().Set("X-Linked-Size", fmt.Sprint(len(data)))
		w.Header().Set("X-Xet-Hash", repo.Hash(file)) // of a protocol that is not spoken here
		w.Header().Set("Location", s.storage+"/"+name+"?"+url.Values{"file": {file}, "at": {revision}}.Encode())
		w.WriteHeader(http.StatusFound)
		return
	}
	w.Header().Set("ETag", `"`+repo.Hash(file)+`"`)
	s.send(w, r, file, data)
}

func (s *Server) store(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	if r.Header.Get("Authorization") != "" {
		s.leaks++
	}
	s.mu.Unlock()
	if s.Fault == nil || !s.Fault(w, r, true) {
		s.answer(w, r, true)
	}
}

func (s *Server) send(w http.ResponseWriter, r *http.Request, file string, data []byte) {
	http.ServeContent(&counting{w, s, file}, r, "", time.Time{}, strings.NewReader(string(data)))
}

type counting struct {
	http.ResponseWriter
	server *Server
	file   string
}

func (c *counting) Write(p []byte) (int, error) {
	n, err := c.ResponseWriter.Write(p)
	c.server.mu.Lock()
	c.server.served[c.file] += int64(n)
	c.server.mu.Unlock()
	return n, err
}

// Cut answers a request rightly, but ends the connection after some bytes of its body. Called within Fault.
func (s *Server) Cut(w http.ResponseWriter, r *http.Request, storage bool, after int) {
	s.answer(&cut{w, after}, r, storage)
	panic(http.ErrAbortHandler)
}

// Damage answers a request to the storage with one bit of the body changed. Called within Fault.
func (s *Server) Damage(w http.ResponseWriter, r *http.Request) { s.answer(&damaged{w}, r, true) }

type cut struct {
	http.ResponseWriter
	left int
}

func (c *cut) Write(p []byte) (int, error) {
	if c.left < len(p) {
		n, _ := c.ResponseWriter.Write(p[:c.left])
		c.ResponseWriter.(http.Flusher).Flush()
		c.left -= n
		panic(http.ErrAbortHandler)
	}
	c.left -= len(p)
	return c.ResponseWriter.Write(p)
}

type damaged struct{ http.ResponseWriter }

func (d *damaged) Write(p []byte) (int, error) {
	p = slices.Clone(p)
	p[len(p)/2] ^= 16
	return d.ResponseWriter.Write(p)
}
