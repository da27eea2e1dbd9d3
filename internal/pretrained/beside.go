package pretrained

import (
	"bytes"
	"fmt"
	"strings"

	"qlora-wgpu/internal/model/spec"
)

// untie gives a model whose head is said to be the embedding the head that its files hold, where that is another one.
// So does transformers from version 5 on.
func (m *Model) untie() error {
	head, there := m.index[spec.Head+".weight"]
	embedding, both := m.index[spec.Embedding+".weight"]
	if !m.Spec.TiedHead || !there || !both {
		return nil
	}
	a, b := m.weights[head], m.weights[embedding]
	same, err := a.size == b.size, error(nil)
	const piece = 1 << 20
	x, y := make([]byte, min(piece, a.size)), make([]byte, min(piece, a.size))
	for at := int64(0); at < a.size && same && err == nil; at += piece {
		x, y := x[:min(piece, a.size-at)], y[:min(piece, a.size-at)]
		if err = a.readBytes(x, at); err == nil {
			err = b.readBytes(y, at)
		}
		same = bytes.Equal(x, y)
	}
	if err != nil || same {
		return err
	}
	m.Spec.TiedHead = false
	m.Warnings = append(m.Warnings,
		"tie_word_embeddings is true, but lm_head.weight is not the embedding: the head is what the files hold, as in transformers.")
	return nil
}

// warnOfUnused tells of tensors that no part of the model reads. Rotary frequencies, which files of 2023 hold, and a
// tied head's copy are no loss.
func (m *Model) warnOfUnused() {
	if len(m.Spec.Layers) > len(m.weights) { // tensors are missing, which loading tells
		return
	}
	listed := map[string]bool{spec.Head + ".weight": true}
	for _, t := range m.Spec.Tensors() {
		listed[t.Name] = true
	}
	var unused []string
	for _, w := range m.weights {
		if !listed[w.Name] && !strings.HasSuffix(w.Name, ".rotary_emb.inv_freq") {
			unused = append(unused, w.Name)
		}
	}
	if n := len(unused); n > 0 {
		const shown = 5
		names := strings.Join(unused[:min(n, shown)], ", ")
		if n > shown {
			names += fmt.Sprintf(" and %d more", n-shown)
		}
		m.Warnings = append(m.Warnings, fmt.Sprintf("The configuration describes no use for %d of the model's tensors: %s.", n, names))
	}
}
