//go:build !js

package hub

import (
	"context"
	"encoding/json/v2"
	"fmt"
	"maps"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"qlora-wgpu/internal/usererr"
)

const (
	configFile = "config.json"
	weights    = "model.safetensors"
	indexFile  = "model.safetensors.index.json"
)

// texts of a model's folder beside its tokenizer.
var texts = []string{
	configFile, "generation_config.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
	"chat_template.jinja", "chat_template.json", indexFile,
}

// templates is the folder of chat templates beside the one in chat_template.jinja.
const templates = "additional_chat_templates"

// tokenizers are alternatives, the first that is there is read.
var tokenizers = []string{"tokenizer.json", "tekken.json", "tokenizer.model"}

// Model brings a model into the cache and gives its path: the folder of its commit, or a GGUF file in it. Of a sharded
// model those shards are left out of which unread says that no tensor is read. Errors are *usererr.Error and ctx's.
func (h *Hub) Model(ctx context.Context, n Name, unread func(tensor string) bool) (string, error) {
	return h.bring(ctx, n, func(files []File, get getter) (string, error) { return model(n, files, unread, get) })
}

// Has gives the path of a model that is whole in the cache, as it was when it was fetched.
func (h *Hub) Has(ctx context.Context, n Name, unread func(tensor string) bool) (string, bool) {
	offline := *h
	offline.Offline = true
	path, err := offline.Model(ctx, n, unread)
	return path, err == nil
}

// Adapter brings a LoRA adapter into the cache and gives its folder, or its GGUF file.
func (h *Hub) Adapter(ctx context.Context, n Name) (string, error) {
	return h.bring(ctx, n, func(files []File, get getter) (string, error) { return adapter(n, files, get) })
}

// ModelOrAdapter is Adapter where the repository holds one, and else Model.
func (h *Hub) ModelOrAdapter(ctx context.Context, n Name, unread func(tensor string) bool) (string, error) {
	return h.bring(ctx, n, func(files []File, get getter) (string, error) {
		if has(files, adapterConfig) && !has(files, configFile) {
			return adapter(n, files, get)
		}
		return model(n, files, unread, get)
	})
}

func model(n Name, files []File, unread func(string) bool, get getter) (string, error) {
	if n.File != "" || !has(files, configFile) || !slices.ContainsFunc(files, isSafetensors) {
		return oneGGUF(n, files, get)
	}
	dir, err := get(chooseTexts(files))
	if err != nil {
		return "", err
	}
	chosen, err := chooseWeights(n, files, dir, unread)
	if err != nil {
		return "", err
	}
	return get(chosen)
}

const adapterConfig = "adapter_config.json"

func adapter(n Name, files []File, get getter) (string, error) {
	const ofPEFT, ofMLX = "adapter_model.safetensors", "adapters.safetensors"
	isGGUF := func(f File) bool { return strings.HasSuffix(strings.ToLower(f.Name), ".gguf") }
	switch {
	case n.File != "":
		return oneGGUF(n, files, get)
	case has(files, adapterConfig) && has(files, ofPEFT):
		return get(named(files, adapterConfig, ofPEFT))
	case has(files, adapterConfig) && has(files, ofMLX):
		return get(named(files, adapterConfig, ofMLX))
	case !has(files, configFile) && slices.ContainsFunc(files, isGGUF):
		return oneGGUF(n, files, get)
	case has(files, "adapter_model.bin"):
		return "", refused(n, "its adapter is a pickle (adapter_model.bin), which runs whatever code it holds when it is read", files)
	case has(files, configFile):
		return "", refused(n, "it is a model and no adapter", files)
	}
	return "", refused(n, "it holds no adapter", files)
}

// oneGGUF is the path of a GGUF file, of a split model the first part.
func oneGGUF(n Name, files []File, get getter) (string, error) {
	chosen, err := chooseGGUF(n, files)
	if err != nil {
		return "", err
	}
	dir, err := get(chosen)
	return filepath.Join(dir, filepath.FromSlash(chosen[0].Name)), err
}

// Dataset brings those files of a data set into the cache that choose picks of the names of all, knowing what the
// README says (nil where there is none), and gives their folder.
func (h *Hub) Dataset(ctx context.Context, n Name, choose func(names []string, readme []byte) ([]string, error)) (string, error) {
	if n.File != "" {
		return "", usererr.New(op, n.String(), "a data set has no types, as GGUF models have").Hinted("as in owner/name@revision")
	}
	return h.bring(ctx, n, func(files []File, get getter) (string, error) {
		names := make([]string, len(files))
		for i, f := range files {
			names[i] = f.Name
		}
		var text []byte
		if about := named(files, readme); len(about) > 0 && about[0].Size <= maxReadme {
			dir, err := get(about)
			if err != nil {
				return "", err
			}
			if text, err = readWhole(filepath.Join(dir, readme)); err != nil {
				return "", usererr.New(op, n.String(), "%w", err)
			}
		}
		chosen, err := choose(names, text)
		if err != nil {
			return "", err
		}
		return get(named(files, chosen...))
	})
}

const (
	readme    = "README.md"
	maxReadme = 4 << 20
)

// Files brings those files into the cache that a pattern fits, the whole name or its last part (path.Match; "folder/"
// is all of a folder), without patterns all, and gives their folder.
func (h *Hub) Files(ctx context.Context, n Name, patterns []string) (string, error) {
	for _, p := range patterns {
		if _, err := path.Match(p, ""); err != nil {
			return "", usererr.New(op, n.String(), "%q is no pattern", p).Hinted("as in '*.json', 'folder/' or '*'")
		}
	}
	return h.bring(ctx, n, func(files []File, get getter) (string, error) {
		if len(files) == 0 {
			return "", refused(n, "it is empty", files)
		}
		for _, p := range patterns {
			if !slices.ContainsFunc(files, func(f File) bool { return fits(p, f.Name) }) {
				return "", refused(n, "none of its files fits "+p, files)
			}
		}
		return get(slices.DeleteFunc(slices.Clone(files), func(f File) bool {
			return len(patterns) > 0 && !slices.ContainsFunc(patterns, func(p string) bool { return fits(p, f.Name) })
		}))
	})
}

func fits(pattern, name string) bool {
	whole, _ := path.Match(pattern, name)
	last, _ := path.Match(pattern, path.Base(name))
	return whole || last || strings.HasSuffix(pattern, "/") && strings.HasPrefix(name, pattern)
}

type getter func([]File) (string, error)

// bring lets choose pick of what the repository holds, or, where the network is away, of what the cache holds of it.
func (h *Hub) bring(ctx context.Context, n Name, choose func([]File, getter) (string, error)) (string, error) {
	var l Listing
	failure := error(errOffline)
	if !h.Offline {
		if l, failure = h.list(ctx, n); failure == nil {
			path, err := choose(l.Files, func(files []File) (string, error) { return h.Fetch(ctx, n, l, files) })
			if err == nil { // what is whole at an older commit stands in until this one is
				if err = h.setRef(n, l.Commit); err != nil {
					err = h.explain(n, err)
				}
			}
			return path, err
		}
	}
	if !isAway(failure) {
		return "", h.explain(n, failure)
	}
	commit, ok := h.kept(n)
	if !ok {
		return "", h.absent(n, failure)
	}
	files, err := h.keptFiles(n, commit)
	if err != nil {
		return "", h.explain(n, err)
	}
	if !h.Offline {
		h.say(fmt.Sprintf("%s: the hub cannot be reached, what came of it before is taken (commit %.8s).", n, commit))
	}
	path, err := choose(files, func([]File) (string, error) { return h.snapshot(n, commit), nil })
	if err != nil {
		return "", h.incomplete(n, failure, err)
	}
	return path, nil
}

func has(files []File, name string) bool {
	return slices.ContainsFunc(files, func(f File) bool { return f.Name == name })
}

// named are the files of these names, as far as they are there.
func named(files []File, names ...string) (found []File) {
	for _, f := range files {
		if slices.Contains(names, f.Name) {
			found = append(found, f)
		}
	}
	return found
}

func isSafetensors(f File) bool {
	return strings.HasSuffix(f.Name, ".safetensors") && !strings.HasPrefix(f.Name, "adapter_") && !strings.Contains(f.Name, "/")
}

func chooseTexts(files []File) []File {
	chosen := named(files, texts...)
	for _, f := range files {
		if path.Dir(f.Name) == templates && path.Ext(f.Name) == ".jinja" {
			chosen = append(chosen, f)
		}
	}
	for _, name := range tokenizers {
		if has(files, name) {
			return append(chosen, named(files, name)...)
		}
	}
	return chosen
}

var shard = regexp.MustCompile(`^model-\d+-of-\d+\.safetensors$`)

// chooseWeights are the whole model's file, or the shards that the index names for a tensor that is read.
func chooseWeights(n Name, files []File, dir string, unread func(string) bool) ([]File, error) {
	if has(files, weights) {
		return named(files, weights), nil
	}
	if !has(files, indexFile) {
		var shards []File
		for _, f := range files {
			if shard.MatchString(f.Name) {
				shards = append(shards, f)
			}
		}
		if len(shards) > 0 {
			return nil, refused(n, "its weights are in shards, and there is no "+indexFile+" that says what is where", files)
		}
		return nil, refused(n, "its weights have other names than "+weights, files)
	}
	path := filepath.Join(dir, indexFile)
	text, err := readWhole(path)
	if err != nil {
		return nil, usererr.New(op, path, "%w", err)
	}
	var index struct {
		Map map[string]string `json:"weight_map"`
	}
	if err := json.Unmarshal(text, &index); err != nil {
		return nil, usererr.New(op, path, "%w", err).Of(usererr.Format)
	}
	wanted := map[string]bool{}
	for tensor, file := range index.Map {
		if !unread(tensor) {
			wanted[file] = true
		}
	}
	for _, file := range slices.Sorted(maps.Keys(wanted)) {
		if !has(files, file) {
			return nil, refused(n, fmt.Sprintf("%s names %s, which is not there", indexFile, file), files)
		}
	}
	return named(files, slices.Collect(maps.Keys(wanted))...), nil
}

var ggufPart = regexp.MustCompile(`-\d{5}-of-\d{5}\.gguf$`)

// chooseGGUF are the parts of the GGUF model of the type that the name asks for, the first one first.
func chooseGGUF(n Name, files []File) ([]File, error) {
	models := map[string][]File{} // by name without the number of the part
	for _, f := range files {
		base := strings.ToLower(path.Base(f.Name))
		if strings.HasSuffix(base, ".gguf") && !strings.HasPrefix(base, "mmproj") && !strings.Contains(base, "imatrix") {
			whole := ggufPart.ReplaceAllString(f.Name, ".gguf")
			models[whole] = append(models[whole], f)
		}
	}
	if len(models) == 0 {
		return nil, unusable(n, files)
	}
	names := slices.Sorted(maps.Keys(models))
	if n.File != "" {
		asked := ofType(names, n.File)
		if len(asked) == 0 {
			return nil, usererr.New(op, n.String(), "there is no GGUF of this type").Hinted("there are %s", some(names))
		}
		names = asked
	}
	if len(names) > 1 {
		return nil, usererr.New(op, n.String(), "there are several GGUF models").
			Hinted("say which by its type or its name, as in %s:Q4_K_M or %[1]s:%s: %s", n.Repo, names[0], some(names))
	}
	parts := models[names[0]]
	slices.SortFunc(parts, func(a, b File) int { return strings.Compare(a.Name, b.Name) })
	return parts, nil
}

// ofType are the files of these names, or those whose name has the type as a part between "-", "." or "_".
func ofType(names []string, kind string) (found []string) {
	whole := regexp.MustCompile(`(?i)(^|[-._/])` + regexp.QuoteMeta(kind) + `([-./]|$)`)
	for _, name := range names {
		if name == kind || ggufPart.ReplaceAllString(kind, ".gguf") == name || whole.MatchString(strings.TrimSuffix(name, ".gguf")) {
			found = append(found, name)
		}
	}
	return found
}

// unusable says what there is in the place of weights.
func unusable(n Name, files []File) error {
	for _, f := range files {
		switch base := path.Base(f.Name); {
		case base == "adapter_config.json":
			return refused(n, "it is an adapter and no model: give it by --adapter, with its base model by --model", files)
		case strings.HasPrefix(base, "pytorch_model") || strings.HasSuffix(base, ".pth") || strings.HasSuffix(base, ".ckpt"):
			return refused(n, "its weights are a pickle ("+f.Name+"), which runs whatever code it holds when it is read", files)
		}
	}
	return refused(n, "it holds no weights in safetensors or GGUF", files)
}

// refused says why a repository is of no use, and what it holds.
func refused(n Name, why string, files []File) error {
	names := make([]string, len(files))
	for i, f := range files {
		names[i] = f.Name
	}
	return usererr.New(op, n.String(), "%s", why).Of(usererr.Unsupported).Hinted("there are %s", some(names))
}

// some names, and how many more.
func some(names []string) string {
	const shown = 8
	if len(names) == 0 {
		return "no files"
	}
	if len(names) <= shown {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:shown], ", "), len(names)-shown)
}
