//go:build !js

package hub

import (
	"context"
	"encoding/json/v2"
	"fmt"
	"io"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"

	"qlora-wgpu/internal/usererr"
)

// File of a repository.
type File struct {
	Name string // with "/" between folders
	Size int64
	// Hash is the name of its blob, and its check: the SHA-256 of a file in large-file storage, else git's id of it.
	Hash string
}

// large tells whether the file is in large-file storage.
func (f File) large() bool { return len(f.Hash) == sha256Hex }

const (
	sha1Hex, sha256Hex = 40, 64
	maxListing         = 64 << 20 // bytes of a page
	maxPages           = 10_000
)

// Listing is what a repository holds at a commit.
type Listing struct {
	Commit string
	Files  []File
}

var hexadecimal = regexp.MustCompile(`^[0-9a-f]+$`)

// List asks for the files of a repository at its revision. Errors are *usererr.Error and ctx's.
func (h *Hub) List(ctx context.Context, n Name) (Listing, error) {
	l, err := h.list(ctx, n)
	if err != nil {
		return l, h.explain(n, err)
	}
	return l, nil
}

func (h *Hub) list(ctx context.Context, n Name) (l Listing, err error) {
	api := fmt.Sprintf("%s/api/%s/%s", h.Endpoint, n.Type, n.Repo)
	text, _, err := h.askAll(ctx, api+"/revision/"+url.PathEscape(n.Revision))
	if err != nil {
		return l, err
	}
	var info struct {
		SHA string `json:"sha"`
	}
	if err := json.Unmarshal(text, &info); err != nil {
		return l, damaged(usererr.Plain(err))
	}
	if !commitHash.MatchString(info.SHA) {
		return l, damaged(fmt.Errorf("sha is %q", info.SHA))
	}
	l.Commit = info.SHA
	address := api + "/tree/" + l.Commit + "?recursive=true"
	for pages := 0; address != ""; pages++ {
		if pages == maxPages {
			return l, damaged(fmt.Errorf("it has more than %d pages", maxPages))
		}
		text, link, err := h.askAll(ctx, address)
		if err != nil {
			return l, err
		}
		files, err := readTree(text)
		if err != nil {
			return l, damaged(err)
		}
		l.Files = append(l.Files, files...)
		if address, err = next(address, link); err != nil {
			return l, damaged(err)
		}
	}
	return l, nil
}

func damaged(err error) error { return fmt.Errorf("its list of files is damaged: %w", err) }

// readTree reads a page of a list.
func readTree(text []byte) (files []File, err error) {
	var entries []struct {
		Type string `json:"type"`
		Path string `json:"path"`
		Size int64  `json:"size"`
		OID  string `json:"oid"`
		LFS  *struct {
			OID  string `json:"oid"`
			Size int64  `json:"size"`
		} `json:"lfs"`
	}
	if err := json.Unmarshal(text, &entries); err != nil {
		return nil, usererr.Plain(err)
	}
	for _, e := range entries {
		if e.Type != "file" {
			continue
		}
		f, want := File{e.Path, e.Size, e.OID}, sha1Hex
		if e.LFS != nil {
			f.Size, f.Hash, want = e.LFS.Size, e.LFS.OID, sha256Hex
		}
		if len(f.Hash) != want || !hexadecimal.MatchString(f.Hash) || f.Size < 0 {
			return nil, fmt.Errorf("%q has hash %q and %d bytes", f.Name, f.Hash, f.Size)
		}
		files = append(files, f)
	}
	return files, nil
}

var nextLink = regexp.MustCompile(`<([^<>]+)>\s*;\s*rel="?next"?`)

// next is the address of the page behind one, by its Link header (RFC 8288); empty: it is the last. It has to be of the
// same host, which gets the token.
func next(address, link string) (string, error) {
	found := nextLink.FindStringSubmatch(link)
	if found == nil {
		return "", nil
	}
	from, err := url.Parse(address)
	if err != nil {
		return "", err
	}
	to, err := from.Parse(found[1])
	if err != nil {
		return "", err
	}
	if to.Host != from.Host || to.Scheme != from.Scheme {
		return "", fmt.Errorf("it goes on at another host, %s", to.Host)
	}
	return to.String(), nil
}

// askAll gives the whole answer to a request, asked for again where it breaks off, and its Link header.
func (h *Hub) askAll(ctx context.Context, address string) (text []byte, link string, err error) {
	for range tries {
		answer, err := h.ask(ctx, address, 0, -1)
		if err != nil {
			return nil, "", err
		}
		text, err = io.ReadAll(io.LimitReader(answer.Body, maxListing))
		answer.Body.Close()
		if err == nil && len(text) < maxListing {
			return text, answer.Header.Get("Link"), nil
		}
		if ctx.Err() != nil {
			return nil, "", ctx.Err()
		}
	}
	return nil, "", fmt.Errorf("%w: its answer breaks off, or has more than %d bytes", errAway, maxListing)
}

// maxBytes of all files that are fetched at once: a thousand times what any repository has.
const maxBytes = 1 << 50

// check refuses files that would not lie where the hub has them, on any system, and sizes that nothing has.
func check(files []File) error {
	seen, left := map[string]string{}, int64(maxBytes)
	for _, f := range files {
		if left -= f.Size; left < 0 {
			return fmt.Errorf("%s has %d bytes, all files together have more than %d", f.Name, f.Size, int64(maxBytes))
		}
		local := filepath.FromSlash(f.Name)
		if !filepath.IsLocal(local) || strings.ContainsAny(f.Name, "\\:\x00") || f.Name != filepath.ToSlash(filepath.Clean(local)) {
			return fmt.Errorf("the name %q leads out of its folder", f.Name)
		}
		folded := strings.ToLower(f.Name)
		if other, twice := seen[folded]; twice {
			return fmt.Errorf("%s and %s would be one file on many systems", other, f.Name)
		}
		seen[folded] = f.Name
	}
	return nil
}
