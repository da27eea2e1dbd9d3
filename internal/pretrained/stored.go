package pretrained

import (
	"path"
	"slices"
	"strings"

	"qlora-wgpu/internal/usererr"
)

// Stored is a tensor as the files of a Hugging Face folder hold it; one that bitsandbytes spread over several is
// one here.
type Stored struct {
	Name  string // in the files
	Plain string // the model's own, as Lookup finds it; empty: only images go through it
	File  string // base name
	Type  string // of its elements: BF16, F16, F32, NF4, …
	Shape []int
	Size  int64 // bytes as stored
	// ReadBytes fills dst with stored bytes, from byte at on.
	ReadBytes func(dst []byte, at int64) error
}

// Stored lists all tensors of a folder in the order of its files, those of an encoder of images among them, for whoever
// writes the folder anew. An error is a file of a wrapped model that is not there.
func (m *Model) Stored() (list []Stored, err error) {
	if len(m.absent) > 0 {
		return nil, usererr.New(op, m.path, "%s is missing, which only images need", strings.Join(m.absent, ", ")).
			Hinted("fetch all files of the model to write it anew")
	}
	add := func(w weight, plain string) {
		list = append(list, Stored{
			Name: w.stored, Plain: plain, File: path.Base(w.file), Type: w.kind, Shape: w.shape, Size: w.size, ReadBytes: w.readBytes,
		})
	}
	for _, w := range m.weights {
		add(w, w.Name)
	}
	for _, w := range m.encoder {
		add(w, "")
	}
	slices.SortStableFunc(list, func(a, b Stored) int { return strings.Compare(a.File, b.File) })
	return list, nil
}

// Config is a folder's config.json; nil of a GGUF file.
func (m *Model) Config() []byte { return m.config }

// Beside are the other small files of a folder, by name: what the tokenizer, templates and generation are made of, and
// the license. Weights of whatever form, their indexes, the model card and what is hidden are not among them.
func (m *Model) Beside() (files map[string][]byte, err error) {
	files = map[string][]byte{}
	if m.folder == nil {
		return files, nil
	}
	for _, folder := range []string{"", TemplatesFolder} {
		names, err := m.folder.List(folder)
		if err != nil {
			return nil, usererr.New(op, m.path, "%w", err)
		}
		for _, name := range names {
			if !besideName(name) {
				continue
			}
			data, err := readText(m.folder, path.Join(folder, name), path.Join(m.path, folder, name))
			if err != nil {
				return nil, err
			}
			files[path.Join(folder, name)] = data
		}
	}
	return files, nil
}

// besideName tells by its name whether a file goes with a model that is written anew.
func besideName(name string) bool {
	lower := strings.ToLower(name)
	switch {
	case lower == "config.json", lower == "quantization_config.json", lower == "trainer_state.json", strings.HasSuffix(lower, ".index.json"):
		return false
	case strings.HasPrefix(lower, "adapter_"), strings.HasPrefix(lower, "."):
		return false
	case strings.HasPrefix(lower, "license"), strings.HasPrefix(lower, "notice"), lower == "merges.txt", lower == "vocab.txt":
		return true
	}
	return slices.Contains([]string{".json", ".jinja", ".model", ".tiktoken"}, path.Ext(lower))
}
