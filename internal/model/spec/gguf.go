package spec

import "strings"

// InGGUF is a part of a tensor as llama.cpp's files hold it.
type InGGUF struct {
	Name        string
	First, Rows int // of the tensor
	// Stored is the row, of those that are here, where a row of them stands; nil: in its place.
	Stored func(row int) int
}

// Written is the family of GGUF files of the family's models, whose GGUF is their general.architecture.
func (f Family) Written() Family {
	if f.WrittenAs != nil {
		return *f.WrittenAs
	}
	return f
}

// InGGUF is where GGUF files of the family's models hold a tensor: whole, or in two.
func (f Family) InGGUF(t Tensor) []InGGUF {
	if f.GateApart && t.Module == GateUpProj {
		half := t.Rows / 2
		gate := strings.Replace(t.GGUF, ".ffn_up.", ".ffn_gate.", 1)
		return []InGGUF{{Name: gate, Rows: half}, {Name: t.GGUF, First: half, Rows: half}}
	}
	in := InGGUF{Name: t.GGUF, Rows: t.Rows}
	if f.Written().Interleaved && t.Heads > 0 && t.Role == Matrix {
		in.Stored = StoredRow(t.Rows / t.Heads)
	}
	return []InGGUF{in}
}

// StoredRow maps a row of q_proj or k_proj in Hugging Face's order to where llama.cpp stores it: Hugging Face rotates
// feature i of a head with feature i + headDim/2, llama.cpp feature 2i with 2i + 1 (permute in convert_hf_to_gguf.py).
func StoredRow(headDim int) func(row int) int {
	half := headDim / 2
	return func(row int) int {
		i := row % headDim
		return row - i + i%half*2 + i/half
	}
}
