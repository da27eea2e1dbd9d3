package pretrained

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"qlora-wgpu/internal/model/architectures"
	"qlora-wgpu/internal/model/spec"
	"qlora-wgpu/internal/usererr"
)

// Tokens are the ids with a meaning that a configuration names.
type Tokens struct {
	BOS  int   // -1: none
	EOS  []int // of generation_config.json, where it names any, otherwise of config.json; the first one ends a text
	Stop []int // every id that any file lets an answer end with
	Pad  int   // -1: none
}

// stop adds ids that may end an answer.
func (t *Tokens) stop(ids ...int) {
	for _, id := range ids {
		if !slices.Contains(t.Stop, id) {
			t.Stop = append(t.Stop, id)
		}
	}
}

// noTokens is what a configuration without any says.
var noTokens = Tokens{BOS: -1, Pad: -1}

// describe finds the configuration's family, if it is not given, and what the family and everyone read of it.
func (m *Model) describe(k *spec.Keys, family *spec.Family) error {
	if family == nil {
		f, err := architectures.Find(k)
		if err != nil {
			return err
		}
		family = &f
	}
	var err error
	if m.Spec, err = family.Read(k); err != nil {
		return err
	}
	m.Tokens = Tokens{BOS: k.Int("bos_token_id", -1), EOS: k.Ints("eos_token_id"), Pad: k.Int("pad_token_id", -1)}
	m.Tokens.stop(m.Tokens.EOS...)
	if k.Err() != nil {
		return k.Err()
	}
	if list := k.Dropouts(); len(list) > 0 {
		m.Warnings = append(m.Warnings,
			fmt.Sprintf("The model's own dropout is not applied in training (%s): lora_dropout alone is.", strings.Join(list, ", ")))
	}
	return m.checkTokens(k.Path)
}

// checkTokens refuses ids that the embedding has no rows for.
func (m *Model) checkTokens(path string) error {
	for _, id := range slices.Concat([]int{m.Tokens.BOS, m.Tokens.Pad}, m.Tokens.EOS, m.Tokens.Stop) {
		if id < -1 || id >= m.Spec.Vocab {
			return usererr.New(op, path, "token id %d lies outside the vocabulary of %d", id, m.Spec.Vocab).Of(usererr.Format)
		}
	}
	return nil
}

const generationFile = "generation_config.json"

// readGeneration takes over the tokens that end an answer from generation_config.json.
func (m *Model) readGeneration(folder Folder, in func(string) string) error {
	const name = generationFile
	data, err := readText(folder, name, in(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	k := &spec.Keys{Path: in(name), Place: func(key string) string { return placeOf(data, key) }}
	if err := decodeJSON(data, in(name), &k.Values); err != nil {
		return err
	}
	if ids := k.Ints("eos_token_id"); len(ids) > 0 {
		m.Tokens.EOS = ids
		m.Tokens.stop(ids...)
	}
	if k.Err() != nil {
		return k.Err()
	}
	return m.checkTokens(in(name))
}

// Generation is how answers are drawn by generation_config.json; nil: it does not say.
type Generation struct {
	DoSample          *bool    `json:"do_sample"`
	Temperature       *float64 `json:"temperature"`
	TopK              *float64 `json:"top_k"`
	TopP              *float64 `json:"top_p"`
	MinP              *float64 `json:"min_p"`
	RepetitionPenalty *float64 `json:"repetition_penalty"`
}

// Generation reads what generation_config.json says of drawing answers. A GGUF file has none.
func (m *Model) Generation() (g Generation, err error) {
	if m.folder == nil {
		return g, nil
	}
	in := path.Join(m.path, generationFile)
	data, err := readText(m.folder, generationFile, in)
	if errors.Is(err, fs.ErrNotExist) {
		return g, nil
	}
	if err == nil {
		err = decodeJSON(data, in, &g)
	}
	return g, err
}
