package adapters

import (
	"encoding/json/jsontext"
	"encoding/json/v2"
	"io"
	"slices"
	"strconv"
	"strings"

	"qlora-wgpu/internal/safetensors"
	"qlora-wgpu/internal/usererr"
	"qlora-wgpu/lora"
)

// MLX are the two files of MLX's folder. It has one rank, for which smaller ones are padded with zeros, and one scale:
// others are folded into B, each value rounded once. A linear of its keys that has no matrices stays as it is there.
func (s *Sum) MLX() (files map[string]*File, err error) {
	places := s.adapted(inMLX(s.spec))
	rank, scale := 0, s.commonScale()
	exact, err := strconv.ParseFloat(strconv.FormatFloat(float64(scale), 'g', -1, 32), 64) // float32 again, as MLX computes
	if err != nil {
		return nil, err
	}
	c := mlxConfig{FineTuneType: typeLoRA, Parameters: &mlxParameters{Scale: &exact, Dropout: s.dropout}}
	layers := len(s.spec.Layers)
	var header []safetensors.Tensor
	for _, p := range places {
		layer, key := inLayer(strings.TrimPrefix(p.name, mlxWrapped))
		layers = min(layers, layer)
		if !slices.Contains(c.Parameters.Keys, key) {
			c.Parameters.Keys = append(c.Parameters.Keys, key)
		}
		rank = max(rank, s.rank(p.linear))
	}
	for _, p := range places {
		header = append(header,
			safetensors.Tensor{Name: p.name + suffixA, DType: safetensors.F32, Shape: []int{p.cols, rank}},
			safetensors.Tensor{Name: p.name + suffixB, DType: safetensors.F32, Shape: []int{rank, p.rows}})
	}
	last := len(s.spec.Layers) - layers
	c.NumLayers, c.Parameters.Rank = &last, rank
	if s.base != "" {
		if c.Model, err = jsontext.AppendQuote(nil, s.base); err != nil {
			return nil, usererr.New(opWrite, "", "the base model's name: %w", err)
		}
	}
	text, err := json.Marshal(c, jsontext.WithIndent("    "))
	if err != nil {
		return nil, err
	}
	text = append(text, '\n')
	config := &File{Size: int64(len(text)), Write: func(out io.Writer) error { _, err := out.Write(text); return err }}
	weights := &File{Write: func(out io.Writer) error { return s.writeMLX(out, header, places, rank, scale) }}
	for _, t := range header {
		weights.Size += int64(4*t.Shape[0]*t.Shape[1]) + int64(len(t.Name)) + 64 // its line of the header
	}
	return map[string]*File{lora.ConfigFile: config, mlxWeights: weights}, nil
}

func (s *Sum) writeMLX(out io.Writer, header []safetensors.Tensor, places []place, rank int, scale float32) error {
	if err := safetensors.WriteHeader(out, map[string]string{"format": "mlx"}, header); err != nil {
		return err
	}
	for _, p := range places {
		b, err := s.b(p, scale)
		if err != nil {
			return err
		}
		a := s.a(p)
		a.values, a.rows = append(a.values, make([]float32, (rank-a.rows)*a.cols)...), rank
		b = b.transposed()
		b.values = append(b.values, make([]float32, (rank-b.rows)*b.cols)...)
		for _, values := range [][]float32{a.transposed().values, b.values} {
			if _, err := out.Write(safetensors.Float32Bytes(values)); err != nil {
				return err
			}
		}
	}
	return nil
}

// commonScale is that of most products.
func (s *Sum) commonScale() (best float32) {
	count := map[float32]int{}
	for _, t := range matrices(s.spec) {
		for _, p := range s.parts[linearOf(t)] {
			if count[p.Scaling]++; count[p.Scaling] > count[best] {
				best = p.Scaling
			}
		}
	}
	return best
}
