package adapters

import (
	"cmp"
	"errors"
	"io"
	"math"
	"strings"

	"qlora-wgpu/internal/gguf"
	"qlora-wgpu/internal/usererr"
)

// GGUF is llama.cpp's file, its matrices in float32, float16 or bfloat16: the blocks of other types would cut ranks.
// Scales are said by one alpha, and folded into B, each value rounded once, where that does not give them. Errors are
// *usererr.Error, of Write also for a value that the type does not hold.
func (s *Sum) GGUF(t gguf.Type) (*File, error) {
	places, architecture := inGGUF(s.spec)
	places = s.adapted(places)
	alpha := s.alpha()
	metadata := []gguf.Pair{{Key: keyArchitecture, Value: architecture}, {Key: keyType, Value: typeAdapter}}
	if s.base != "" {
		metadata = append(metadata, gguf.Pair{Key: keyBases, Value: uint32(1)}, gguf.Pair{Key: keyBaseName, Value: s.base})
		if strings.Count(s.base, "/") == 1 {
			metadata = append(metadata, gguf.Pair{Key: keyBaseURL, Value: huggingFace + s.base})
		}
	}
	metadata = append(metadata, gguf.Pair{Key: keyAdapterType, Value: typeLoRA}, gguf.Pair{Key: keyAlpha, Value: alpha})
	var tensors []gguf.Tensor
	for _, p := range places {
		rank := s.rank(p.linear)
		tensors = append(tensors,
			gguf.Tensor{Name: p.name + suffixA, Type: t, Shape: []int{rank, p.cols}},
			gguf.Tensor{Name: p.name + suffixB, Type: t, Shape: []int{p.rows, rank}})
	}
	sized, err := gguf.NewWriter(io.Discard, metadata, tensors)
	if err != nil {
		return nil, usererr.New(opWrite, "", "%w", err)
	}
	return &File{Size: sized.Size(), Write: func(out io.Writer) error {
		w, err := gguf.NewWriter(out, metadata, tensors)
		if err != nil {
			return err
		}
		for _, p := range places {
			b, err := s.b(p, ggufScale(alpha, s.rank(p.linear)))
			if err := cmp.Or(err, writeGGUF(w, p.name+suffixA, s.a(p), t), writeGGUF(w, p.name+suffixB, b, t)); err != nil {
				return err
			}
		}
		return w.Close()
	}}, nil
}

func writeGGUF(w *gguf.Writer, name string, m matrix, t gguf.Type) error {
	data := make([]byte, m.rows*t.RowSize(m.cols))
	err := t.Quantize(data, m.values)
	if e := (*gguf.OutOfRange)(nil); errors.As(err, &e) {
		return usererr.New(opWrite, "", "element [%d,%d] of %s is %v, too large for %v", e.Index/m.cols, e.Index%m.cols, name, e.Value, t).
			Hinted("choose --type f32 or bf16")
	} else if err != nil {
		return err
	}
	return w.Write(name, data)
}

// alpha is the one with which llama.cpp's scale, alpha by the rank, or 1 where alpha is 0, is exactly that of as many
// products as can be.
func (s *Sum) alpha() (best float32) {
	most := -1
	try := func(alpha float32) {
		right := 0
		for linear, parts := range s.parts {
			for _, p := range parts {
				if p.Scaling == ggufScale(alpha, s.rank(linear)) {
					right++
				}
			}
		}
		if right > most {
			best, most = alpha, right
		}
	}
	tried := map[float32]bool{}
	for _, t := range matrices(s.spec) {
		for _, p := range s.parts[linearOf(t)] {
			alpha := p.Scaling * float32(s.rank(linearOf(t))) // if one gives the scaling, the nearest to this does
			if !tried[alpha] && alpha <= math.MaxFloat32 {
				tried[alpha] = true
				try(alpha)
			}
		}
	}
	try(0)
	return best
}
