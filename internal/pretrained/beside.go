package pretrained

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"qlora-wgpu/internal/model/spec"
)

// untie gives a model whose head is said to be the embedding what its files hold: another head, or the head alone,
// which then is the embedding. So does transformers from version 5 on. Without compare the configuration is believed
// where both are there.
func (m *Model) untie(compare bool) error {
	const headName, embeddingName = spec.Head + ".weight", spec.Embedding + ".weight"
	head, there := m.index[headName]
	embedding, both := m.index[embeddingName]
	switch {
	case !m.Spec.TiedHead || !there:
		return nil
	case !both:
		m.weights[head].Name = embeddingName
		delete(m.index, headName)
		m.index[embeddingName] = head
		return nil
	case !compare:
		return nil
	}
	same, err := sameBytes(m.weights[head], m.weights[embedding])
	if err == nil && !same && m.weights[head].kind != m.weights[embedding].kind {
		same, err = sameValues(m.weights[head], m.weights[embedding])
	}
	if err != nil || same {
		return err
	}
	m.Spec.TiedHead = false
	m.Warnings = append(m.Warnings,
		"tie_word_embeddings is true, but lm_head.weight is not the embedding: the head is what the files hold, as in transformers.")
	return nil
}

// sameBytes compares two tensors as they are stored.
func sameBytes(a, b weight) (bool, error) {
	const piece = 1 << 20
	x, y := make([]byte, min(piece, a.size)), make([]byte, min(piece, a.size))
	for at := int64(0); at < a.size && a.size == b.size; at += piece {
		x, y := x[:min(piece, a.size-at)], y[:min(piece, a.size-at)]
		if err := errors.Join(a.readBytes(x, at), b.readBytes(y, at)); err != nil {
			return false, err
		}
		if !bytes.Equal(x, y) {
			return false, nil
		}
	}
	return a.size == b.size, nil
}

// sameValues compares two tensors whose elements are stored in different types.
func sameValues(a, b weight) (bool, error) {
	if a.Rows != b.Rows || a.Cols != b.Cols {
		return false, nil
	}
	const rows = 256
	x, y := make([]float32, rows*a.Cols), make([]float32, rows*a.Cols)
	for first := 0; first < a.Rows; first += rows {
		n := min(rows, a.Rows-first)
		x, y := x[:n*a.Cols], y[:n*a.Cols]
		if err := errors.Join(a.readRows(first, n, x), b.readRows(first, n, y)); err != nil {
			return false, err
		}
		if !slices.Equal(x, y) {
			return false, nil
		}
	}
	return true, nil
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
		m.Warnings = append(m.Warnings,
			fmt.Sprintf("The configuration describes no use for %d of the model's tensors: %s.", n, firstOf(unused)))
	}
}

// firstOf lists some names, and how many more there are.
func firstOf(names []string) string {
	const shown = 5
	list := strings.Join(names[:min(len(names), shown)], ", ")
	if more := len(names) - shown; more > 0 {
		list += fmt.Sprintf(" and %d more", more)
	}
	return list
}
