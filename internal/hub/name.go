//go:build !js

package hub

import (
	"net/url"
	"os"
	"regexp"
	"strings"

	"qlora-wgpu/internal/usererr"
)

// Type of a repository, as the hub's addresses and the cache's folders have it.
type Type string

// The types that are fetched.
const (
	Models   Type = "models"
	Datasets Type = "datasets"
)

// Name says what of the hub is wanted.
type Name struct {
	Type     Type
	Repo     string // "owner/name"
	Revision string // a branch, tag or commit; "main" where none is named
	// File is one file of the repository, or the type of a GGUF file in it ("Q4_K_M"); empty where neither is named.
	File string
}

const op = "fetch from the hub"

var (
	// Of owner and name by Hugging Face's rule (validate_repo_id): letters, digits, ".", "_", "-", 96 at most.
	repoPart = regexp.MustCompile(`^[A-Za-z0-9](?:[\w.-]{0,94}[A-Za-z0-9_])?$`)
	revision = regexp.MustCompile(`^[\w][\w./+-]{0,254}$`)
	ggufType = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,64}$`)
	hosts    = regexp.MustCompile(`^(?:https?://)?(?:www\.)?(?:huggingface\.co|hf\.co)/|^hf://`)
)

// Parse reads a name: "owner/name", with "@revision" or ":GGUF_TYPE" behind it, or any address of its pages, on the hub
// that HF_ENDPOINT names too. named is false for what can only be a path. An error is one of a name that is clearly
// meant for the hub. Of a name without an address the type is t.
func Parse(text string, t Type) (n Name, named bool, err error) {
	host := hosts.FindString(text)
	if at := strings.TrimRight(os.Getenv("HF_ENDPOINT"), "/") + "/"; at != "/" && strings.HasPrefix(text, at) {
		host = at
	}
	plain := strings.TrimRight(text[len(host):], "/")
	if host != "" {
		plain, _, _ = strings.Cut(plain, "?")
		plain, _, _ = strings.Cut(plain, "#")
	}
	for _, other := range []Type{Models, Datasets} {
		if rest, ok := strings.CutPrefix(plain, string(other)+"/"); ok && (host != "" || strings.Count(rest, "/") == 1) {
			plain, t = rest, other
		}
	}
	n = Name{Type: t, Revision: "main"}
	owner, rest, ok := strings.Cut(plain, "/")
	if !ok {
		if host == "" {
			return n, false, nil
		}
		return n, true, misnamed(text)
	}
	if host != "" {
		rest, err = n.page(rest)
		if err != nil {
			return n, true, misnamed(text)
		}
	}
	rest, at, hasRevision := strings.Cut(rest, "@")
	if hasRevision {
		n.Revision, n.File, _ = strings.Cut(at, ":")
	} else if name, file, ok := strings.Cut(rest, ":"); ok {
		rest, n.File = name, file
	}
	n.Repo = owner + "/" + rest
	fits := func(part string) bool {
		return repoPart.MatchString(part) && !strings.Contains(part, "--") && !strings.Contains(part, "..") && !strings.HasSuffix(part, ".git")
	}
	if !fits(owner) || !fits(rest) {
		if host == "" && !hasRevision {
			return n, false, nil
		}
		return n, true, misnamed(text)
	}
	if !revision.MatchString(n.Revision) || strings.Contains(n.Revision, "..") {
		return n, true, usererr.New(op, text, "%q can be no revision", n.Revision).
			Hinted("it is a branch, a tag or a commit, as in owner/name@main")
	}
	if n.File != "" && !strings.HasSuffix(n.File, ".gguf") && !ggufType.MatchString(n.File) {
		if host == "" && strings.Contains(n.File, "/") {
			return n, false, nil
		}
		return n, true, usererr.New(op, text, "%q can be no type of a GGUF file", n.File).Hinted("as in owner/name:Q4_K_M")
	}
	return n, true, nil
}

// page takes off what stands behind a repository's name in an address of the hub's pages, and gives the name.
func (n *Name) page(rest string) (string, error) {
	parts := strings.SplitN(rest, "/", 4)
	if len(parts) < 3 {
		return parts[0], nil
	}
	switch parts[1] {
	case "tree", "blob", "resolve", "raw", "commit", "commits":
		revision, err := url.PathUnescape(parts[2])
		if err != nil {
			return "", err
		}
		n.Revision = revision
		if len(parts) == 4 && strings.HasSuffix(parts[3], ".gguf") {
			if n.File, err = url.PathUnescape(parts[3]); err != nil {
				return "", err
			}
		}
	}
	return parts[0], nil
}

func misnamed(text string) error {
	return usererr.New(op, text, "this is no name of a repository").Hinted("it is written owner/name, as on its page")
}

// String is the name as it is written: "owner/name@revision:type".
func (n Name) String() string {
	text := n.Repo
	if n.Revision != "main" {
		text += "@" + n.Revision
	}
	if n.File != "" {
		text += ":" + n.File
	}
	return text
}

// folder is the name of the repository's folder in the cache (huggingface_hub's repo_folder_name).
func (n Name) folder() string {
	return string(n.Type) + "--" + strings.ReplaceAll(n.Repo, "/", "--")
}
