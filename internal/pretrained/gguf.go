package pretrained

import (
	"cmp"
	"fmt"
	"hash"
	"math"
	"slices"

	"qlora-wgpu/internal/gguf"
	"qlora-wgpu/internal/model/spec"
	"qlora-wgpu/internal/usererr"
)

// OpenGGUF opens a GGUF file in a folder, of a family that is known; of a split model it may be any part, and the
// others lie beside it. Tensors have Hugging Face's names; rows of q_proj and k_proj, which some families' files hold
// with the two halves of each head interleaved, come back in Hugging Face's order. The path, which ends in the name,
// only serves messages. Errors are *usererr.Error.
func OpenGGUF(folder Folder, name, path string) (*Model, error) {
	m, h := newModel(path)
	if err := m.openGGUF(folder, name, h); err != nil {
		m.Close()
		return nil, err
	}
	return m, nil
}

func (m *Model) openGGUF(folder Folder, name string, h hash.Hash) error {
	parts, err := m.openParts(folder, name, m.path)
	if err != nil {
		return err
	}
	f, err := joined(parts)
	if err != nil {
		return err
	}
	g := &ggufReader{File: f, path: m.path}
	if err := g.describe(m); err != nil {
		return err
	}
	if layers, tensors := len(m.Spec.Layers), len(f.Tensors()); layers > tensors { // before so many are listed
		return usererr.New(op, m.path, "%s.block_count is %d, the file has %d tensors", g.family.GGUF, layers, tensors).
			Of(usererr.Format)
	}
	listed := map[string]spec.Tensor{}
	for _, t := range m.Spec.Tensors() {
		listed[t.GGUF] = t
	}
	if err := g.refuseUnused(listed); err != nil {
		return err
	}
	for _, t := range f.Tensors() {
		entry, ok := listed[t.Name]
		if !ok {
			continue
		}
		w, err := g.weight(t, entry)
		if err != nil {
			return err
		}
		if err := m.add(w); err != nil {
			return err
		}
	}
	if m.tokenizer = g.tokenizer(m.Spec.Vocab); g.err != nil {
		return g.err
	}
	if m.tokenizer.Model == "" || m.tokenizer.Model == NoVocabulary {
		m.noTokenizer = usererr.New(op, m.path, "the file has no tokenizer: tokenizer.ggml.model is %s", cmp.Or(m.tokenizer.Model, "missing")).
			Hinted("make the GGUF of a folder that has one, with llama.cpp's convert_hf_to_gguf.py")
	}
	for _, p := range parts {
		if err := hashPart(h, p.file, p.head.DataStart()); err != nil {
			return usererr.New(op, m.path, "%w", err)
		}
	}
	return m.hashTensors(h)
}

// refuseUnused refuses tensors that no part of the model reads, as llama.cpp does: a GGUF holds none that its
// architecture has no use for.
func (g *ggufReader) refuseUnused(listed map[string]spec.Tensor) error {
	var unused []string
	for _, t := range g.Tensors() {
		_, used := listed[t.Name]
		if _, factors := ropeFactors[t.Name]; !used && !factors {
			unused = append(unused, fmt.Sprintf("%q", t.Name))
		}
	}
	switch len(unused) {
	case 0:
		return nil
	case 1:
		return g.unsupported("the model has a tensor %s", unused[0]).Hinted("no model of the plain %s architecture has it", g.family.GGUF)
	}
	return g.unsupported("the model has %d tensors without a use: %s", len(unused), firstOf(unused)).
		Hinted("no model of the plain %s architecture has them", g.family.GGUF)
}

// ggufReader reads metadata and keeps the first error.
type ggufReader struct {
	*gguf.File
	path   string
	family spec.Family
	err    error
}

// read takes what a getter returned; the fallback where the key is absent.
func read[T any](g *ggufReader, get func(string) (T, bool, error), key string, fallback T) T {
	v, ok, err := get(key)
	g.keep(err)
	if !ok || err != nil {
		return fallback
	}
	return v
}

// keep keeps the first error.
func (g *ggufReader) keep(err error) {
	if g.err == nil {
		g.err = err
	}
}

func (g *ggufReader) integer(key string, fallback int) int {
	v := read(g, g.Int, key, int64(fallback))
	if v == int64(fallback) {
		return fallback
	}
	if v < math.MinInt32 || v > math.MaxInt32 {
		g.fail("%s is %d", key, v)
		return fallback
	}
	return int(v)
}

func (g *ggufReader) unsupported(format string, args ...any) *usererr.Error {
	return usererr.New(op, g.path, "%w", fmt.Errorf(format, args...)).Of(usererr.Unsupported)
}

// weight is a tensor under its Hugging Face name and with its row order.
func (g *ggufReader) weight(t gguf.Tensor, entry spec.Tensor) (weight, error) {
	w := weight{
		Tensor: Tensor{entry.Name, t.Rows(), t.Cols()}, file: g.PathOf(t), kind: t.Type.String(), size: t.Size,
		readRows:  func(first, rows int, dst []float32) error { return g.ReadFloat32(t, dst, first, rows) },
		readBytes: func(dst []byte, at int64) error { return g.ReadBytes(t, dst, at) },
	}
	if !g.family.Interleaved || entry.Heads == 0 {
		return w, nil
	}
	features := w.Rows
	if entry.Role == spec.Bias {
		features = w.Cols
	}
	if features%(2*entry.Heads) != 0 {
		return weight{}, usererr.New(op, g.PathOf(t), "tensor %s has %d outputs for %d heads", t.Name, features, entry.Heads).Of(usererr.Format)
	}
	stored := spec.StoredRow(features / entry.Heads)
	if entry.Role == spec.Bias {
		w.readRows = func(_, rows int, dst []float32) error {
			x := make([]float32, len(dst))
			err := g.ReadFloat32(t, x, 0, rows)
			for i := range dst {
				dst[i] = x[stored(i)]
			}
			return err
		}
		return w, nil
	}
	w.readRows = func(first, rows int, dst []float32) error {
		for i := range rows {
			if err := g.ReadFloat32(t, dst[i*w.Cols:(i+1)*w.Cols], stored(first+i), 1); err != nil {
				return err
			}
		}
		return nil
	}
	return w, nil
}

// NoVocabulary is the tokenizer.ggml.model of a file whose model is given ids alone.
const NoVocabulary = "none"

// tokenizer fills the tokenizer's source; errors stay in g.err.
func (g *ggufReader) tokenizer(vocab int) TokenizerSource {
	const key = "tokenizer.ggml."
	t := TokenizerSource{
		Model: read(g, g.String, key+"model", ""), Pre: read(g, g.String, key+"pre", ""),
		Tokens: read(g, g.Strings, key+"tokens", nil), Merges: read(g, g.Strings, key+"merges", nil),
		Scores:         read(g, g.Floats, key+"scores", nil),
		AddSpacePrefix: read(g, g.Bool, key+"add_space_prefix", true),
		CollapseSpaces: read(g, g.Bool, key+"remove_extra_whitespaces", false),
		Templates:      g.templates(), Named: map[string]string{},
	}
	for _, v := range read(g, g.Ints, key+"token_type", nil) {
		t.Types = append(t.Types, int(v))
	}
	switch {
	case len(t.Tokens) > vocab:
		g.fail("there are %d tokens, the embedding has %d rows", len(t.Tokens), vocab)
	case len(t.Types) != 0 && len(t.Types) != len(t.Tokens):
		g.fail("there are %d tokens and %d token types", len(t.Tokens), len(t.Types))
	}
	for purpose, name := range map[string]string{
		"bos_token": "bos_token_id", "eos_token": "eos_token_id", "unk_token": "unknown_token_id", "pad_token": "padding_token_id",
		"sep_token": "seperator_token_id", "cls_token": "cls_token_id", "mask_token": "mask_token_id", // the misspelling is GGUF's
	} {
		id := g.integer(key+name, -1)
		switch {
		case id == -1 || len(t.Tokens) == 0:
		case id < 0 || id >= len(t.Tokens):
			g.fail("%s%s is %d, there are %d tokens", key, name, id, len(t.Tokens))
		default:
			t.Named[purpose] = t.Tokens[id]
		}
	}
	// llama.cpp's defaults, by vocabulary type and pre-tokenizer.
	byDefault := t.Model == "llama" || slices.Contains([]string{"llama3", "llama-v3", "llama-bpe", "tekken"}, t.Pre)
	t.AddBos, t.AddEos = read(g, g.Bool, key+"add_bos_token", byDefault), read(g, g.Bool, key+"add_eos_token", false)
	return t
}

// templates are the chat templates by name, as llama.cpp's converter writes them.
func (g *ggufReader) templates() map[string]string {
	const key = "tokenizer.chat_template"
	all := map[string]string{}
	if text := read(g, g.String, key, ""); text != "" {
		all[DefaultTemplate] = text
	}
	for _, name := range read(g, g.Strings, key+"s", nil) {
		if text := read(g, g.String, key+"."+name, ""); text != "" {
			all[name] = text
		}
	}
	return all
}

func (g *ggufReader) fail(format string, args ...any) {
	if g.err == nil {
		g.err = usererr.New(op, g.path, "%w", fmt.Errorf(format, args...)).Of(usererr.Format)
	}
}
