//go:build !js

package hub

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"qlora-wgpu/internal/checkpoint"
	"qlora-wgpu/internal/files"
	"qlora-wgpu/internal/usererr"
)

// The cache is that of huggingface_hub (its guide "Understand caching"): models--owner--name holds blobs/HASH,
// refs/REVISION with a commit in it, and snapshots/COMMIT/NAME, links to the blobs.

func (h *Hub) repo(n Name) string { return filepath.Join(h.Cache, n.folder()) }

func (h *Hub) blob(n Name, f File) string { return filepath.Join(h.repo(n), "blobs", f.Hash) }

func (h *Hub) snapshot(n Name, commit string) string {
	return filepath.Join(h.repo(n), "snapshots", commit)
}

func (h *Hub) pointer(n Name, commit string, f File) string {
	return filepath.Join(h.snapshot(n, commit), filepath.FromSlash(f.Name))
}

var cached = regexp.MustCompile(`models--([\w.-]+?)--([\w.-]+)[/\\]snapshots[/\\][0-9a-f]{40}(?:[/\\]|$)`)

// RepoOf is the repository, "owner/name", that a path within a cache is of; empty for any other path.
func RepoOf(path string) string {
	found := cached.FindStringSubmatch(path)
	if found == nil {
		return ""
	}
	return found[1] + "/" + found[2]
}

// here tells whether a file of a commit is in the cache.
func (h *Hub) here(n Name, commit string, f File) bool {
	info, err := os.Stat(h.pointer(n, commit, f))
	return err == nil && info.Mode().IsRegular() && info.Size() == f.Size
}

// link gives a blob its name in a snapshot; where the system has no links, the blob itself goes there.
func (h *Hub) link(n Name, commit string, f File) error {
	pointer, blob := h.pointer(n, commit, f), h.blob(n, f)
	if err := os.MkdirAll(filepath.Dir(pointer), 0o777); err != nil {
		return err
	}
	if err := os.Remove(pointer); err != nil && !errors.Is(err, fs.ErrNotExist) { // of another size, or it leads nowhere
		return err
	}
	to, err := filepath.Rel(filepath.Dir(pointer), blob)
	if err != nil {
		return err
	}
	if os.Symlink(to, pointer) == nil {
		_, err := os.Stat(pointer) // a folder that is a link itself leads elsewhere
		return err
	}
	if h.here(n, commit, f) { // another process has been faster
		return nil
	}
	return os.Rename(blob, pointer)
}

const maxRef = 4 << 10 // bytes of a file with a commit in it

var commitHash = regexp.MustCompile(`^[0-9a-f]{40}$`)

// setRef notes which commit a revision is.
func (h *Hub) setRef(n Name, commit string) error {
	if n.Revision == commit {
		return nil
	}
	path := filepath.Join(h.repo(n), "refs", filepath.FromSlash(n.Revision))
	if text, err := files.Read(path, maxRef); err == nil && string(text) == commit {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return err
	}
	return checkpoint.WriteBytes(checkpoint.Files{}, path, []byte(commit))
}

// kept is the commit that a revision was when it was last fetched; false: it never was.
func (h *Hub) kept(n Name) (commit string, ok bool) {
	commit = n.Revision
	if !commitHash.MatchString(commit) {
		text, err := files.Read(filepath.Join(h.repo(n), "refs", filepath.FromSlash(n.Revision)), maxRef)
		if err != nil {
			return "", false
		}
		commit = strings.TrimSpace(string(text))
	}
	if !commitHash.MatchString(commit) {
		return "", false
	}
	info, err := os.Stat(h.snapshot(n, commit))
	return commit, err == nil && info.IsDir()
}

// keptFiles are those of a commit that are in the cache; they bear no hash.
func (h *Hub) keptFiles(n Name, commit string) (found []File, err error) {
	root := h.snapshot(n, commit)
	err = filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		info, err := os.Stat(path) // of what the link leads to
		if err != nil {
			return nil // nowhere: the blob is gone
		}
		name, err := filepath.Rel(root, path)
		found = append(found, File{Name: filepath.ToSlash(name), Size: info.Size()})
		return err
	})
	return found, err
}

// readWhole reads a text of a model's folder.
func readWhole(path string) ([]byte, error) { return files.Read(path, maxListing) }

// nearest is the name in the cache that is most like one; empty: none is like it.
func (h *Hub) nearest(n Name) string {
	entries, _ := os.ReadDir(h.Cache)
	best, least := "", len(n.Repo)/3+1
	for _, e := range entries {
		rest, ok := strings.CutPrefix(e.Name(), string(n.Type)+"--")
		if !ok || !e.IsDir() {
			continue
		}
		repo := strings.Replace(rest, "--", "/", 1)
		if d := usererr.Edits(strings.ToLower(repo), strings.ToLower(n.Repo)); d < least && d > 0 {
			best, least = repo, d
		}
	}
	return best
}
