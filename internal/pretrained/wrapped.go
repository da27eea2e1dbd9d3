package pretrained

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"qlora-wgpu/internal/model/spec"
	"qlora-wgpu/internal/safetensors"
	"qlora-wgpu/internal/usererr"
)

// wrappers are the classes of transformers that hold a language model of a known family beside an encoder of images,
// with the prefixes that its tensors have: of files as their makers wrote them, and as transformers writes them since
// 4.52.
var wrappers = []string{"Gemma3ForConditionalGeneration", "Mistral3ForConditionalGeneration"}

var wrappedPrefixes = [][2]string{
	{"language_model.model.", "model."}, {"language_model.lm_head.", "lm_head."}, {"model.language_model.", "model."},
}

// encoderPrefixes are those of tensors that only images go through.
var encoderPrefixes = []string{"vision_tower.", "multi_modal_projector.", "model.vision_tower.", "model.multi_modal_projector."}

// tiedKey says whether the embedding is the head too.
const tiedKey = "tie_word_embeddings"

// languageModel is the part of a configuration that describes the language model: all of it, unless the class is a
// wrapper, whose name it gives. What the outer one says of tokens goes for it too, and whether the head is tied is for
// the outer one to say.
func languageModel(k *spec.Keys) (inner *spec.Keys, wrapper string) {
	names, _ := k.Values["architectures"].([]any)
	if len(names) != 1 || !slices.Contains(wrappers, fmt.Sprint(names[0])) {
		return k, ""
	}
	inner = k.Inside("text_config")
	if inner.Values == nil {
		return inner, fmt.Sprint(names[0])
	}
	for _, key := range []string{"bos_token_id", "eos_token_id", "pad_token_id", "vocab_size"} {
		if value := k.Values[key]; value != nil {
			inner.Default(key, value)
		}
	}
	if tied := k.Values[tiedKey]; tied != nil {
		inner.Values[tiedKey] = tied
	}
	return inner, fmt.Sprint(names[0])
}

// plainName is the name that a tensor of a wrapped model has in the language model's own class.
func plainName(name string) string {
	for _, p := range wrappedPrefixes {
		if rest, ok := strings.CutPrefix(name, p[0]); ok {
			return p[1] + rest
		}
	}
	return name
}

// OnlyForImages tells of a wrapped model's tensor, by its name in the files, that only images go through it.
func OnlyForImages(name string) bool {
	return slices.ContainsFunc(encoderPrefixes, func(prefix string) bool { return strings.HasPrefix(name, prefix) })
}

// tieWrapped ties a head that the files of a wrapped model lack: so does transformers, unless the outer configuration
// says otherwise.
func (m *Model) tieWrapped(outer *spec.Keys) {
	if _, there := m.index[spec.Head+".weight"]; !there && outer.Values[tiedKey] == nil {
		m.Spec.TiedHead = true
	}
}

// openEncoder opens files that only images need, as far as they are there. What a model computes does not depend on
// them, so its hash does not either.
func (m *Model) openEncoder(folder Folder, names []string, in func(string) string) error {
	for _, name := range names {
		file, err := folder.Open(name)
		if errors.Is(err, fs.ErrNotExist) {
			m.absent = append(m.absent, in(name))
			continue
		} else if err != nil {
			return usererr.New(op, in(name), "%w", err)
		}
		m.closers = append(m.closers, file)
		st, err := safetensors.Read(file, file.Size(), in(name))
		if err != nil {
			return err
		}
		for _, t := range st.Tensors() {
			m.encoder = append(m.encoder, safetensorsWeight(st, t, in(name)))
		}
	}
	return nil
}

// leaveEncoder takes the tensors of a wrapped model away that only images go through, and says so.
func (m *Model) leaveEncoder() error {
	var left []string
	for _, w := range m.weights {
		if OnlyForImages(w.Name) {
			m.encoder = append(m.encoder, w)
		}
	}
	for _, w := range m.encoder {
		left = append(left, w.Name)
	}
	m.weights = slices.DeleteFunc(m.weights, func(w weight) bool { return OnlyForImages(w.Name) })
	if len(m.weights) == 0 {
		return usererr.New(op, m.path, "there is no language model among the tensors").Of(usererr.Format)
	}
	clear(m.index)
	for i, w := range m.weights {
		m.index[w.Name] = i
	}
	if n := len(left); n > 0 {
		m.Warnings = append(m.Warnings,
			fmt.Sprintf("The language model is read alone: %d tensors that only images go through are left out: %s.", n, firstOf(left)))
	}
	return nil
}
