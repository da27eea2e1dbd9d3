package convert

import (
	"context"
	"fmt"
	"io"
	"slices"

	"qlora-wgpu/internal/checkpoint"
	"qlora-wgpu/internal/events"
	"qlora-wgpu/internal/gguf"
	"qlora-wgpu/internal/model/architectures"
	"qlora-wgpu/internal/model/spec"
	"qlora-wgpu/internal/usererr"
)

// GGUFOptions say how a GGUF file is written.
type GGUFOptions struct {
	Type gguf.FileType
	Name string            // general.name
	Tell func(events.Part) // of the bytes that are written; nil: nobody wants to know
}

// GGUF is a model as one GGUF file that llama.cpp reads: the tensors that its architecture has, and what else it has to
// know.
type GGUF struct {
	weights  *Weights
	family   spec.Family // of the file
	spec     spec.Spec   // what llama.cpp computes by the file
	metadata []gguf.Pair
	tensors  []ggufTensor
	options  GGUFOptions
}

// GGUF describes the file. Warnings say, a sentence each, what llama.cpp does otherwise, and which tensors get another
// type since their rows are too narrow for that of the file. What an architecture or GGUF cannot say is an unsupported
// *usererr.Error: biases, a window, a tokenizer.
func (w *Weights) GGUF(o GGUFOptions) (g *GGUF, warnings []string, err error) {
	own, _ := architectures.Of(w.model.Spec)
	g = &GGUF{weights: w, family: own.Written(), options: o}
	g.spec, warnings = g.described(own)
	if err := g.checkBiases(); err != nil {
		return nil, nil, err
	}
	said, err := g.describe()
	if err != nil {
		return nil, nil, err
	}
	warnings = append(warnings, said...)
	g.tensors = append(g.rotations(), g.parts(own)...)
	warnings = append(warnings, g.choose()...)
	if err := g.verify(); err != nil {
		return nil, nil, err
	}
	return g, warnings, nil
}

// described is the model as the file's architecture has it.
func (g *GGUF) described(own spec.Family) (s spec.Spec, warnings []string) {
	s = g.weights.model.Spec
	s.Family, s.Wrapper, s.Quantized, s.Renamed = g.family.Names[0], "", nil, nil
	s.Layers = slices.Clone(s.Layers)
	window := 0
	for i := range s.Layers {
		l := &s.Layers[i]
		window = max(window, l.Window)
		if !g.hasWindows() {
			l.Window = 0
		}
		l.FusedMLP = l.FusedMLP && !own.GateApart
	}
	if window > 0 && !g.hasWindows() {
		warnings = append(warnings, fmt.Sprintf("Layers of the model see the last %d tokens, in llama.cpp's %s all of them: "+
			"answers to longer texts differ.", window, g.family.GGUF))
	}
	return s, warnings
}

// hasWindows tells whether llama.cpp computes the architecture's windows.
func (g *GGUF) hasWindows() bool { return g.family.GGUF == "gemma2" || g.family.GGUF == "gemma3" }

// checkBiases refuses those that llama.cpp has no place for.
func (g *GGUF) checkBiases() error {
	for _, t := range g.spec.Tensors() {
		if t.Role == spec.Bias && !slices.Contains([]string{"llama", "granite", "qwen2"}, g.family.GGUF) {
			return usererr.New(op, g.weights.model.Name, "tensor %s is a bias, which llama.cpp's %s does not have", t.Name, g.family.GGUF).
				Of(usererr.Unsupported).Hinted("write a Hugging Face folder with merge")
		}
	}
	return nil
}

// rotations are the tensors of what each frequency is divided by.
func (g *GGUF) rotations() (list []ggufTensor) {
	add := func(name string, factors []float32) {
		if factors != nil {
			list = append(list, ggufTensor{Tensor: gguf.Tensor{Name: name, Type: gguf.F32, Shape: []int{len(factors)}}, values: factors})
		}
	}
	for _, r := range g.spec.Rotations() {
		if r.LongFactors != nil {
			add("rope_factors_long.weight", r.LongFactors)
			add("rope_factors_short.weight", r.Factors)
		} else {
			add("rope_freqs.weight", r.Divisors())
		}
	}
	return list
}

// choose gives the tensors their types.
func (g *GGUF) choose() (warnings []string) {
	layer := g.spec.Layers[0]
	m := gguf.Mixture{
		FileType: g.options.Type, Architecture: g.family.GGUF, Layers: len(g.spec.Layers), Heads: layer.Heads, KVHeads: layer.KVHeads,
	}
	other, order := map[string]int{}, []string(nil)
	for i, c := range m.Choose(g.table()) {
		t := &g.tensors[i]
		if t.Type = c.Type; c.Type == c.Wanted {
			continue
		}
		what := fmt.Sprintf("rows of %d elements are %v and not %v", t.Cols(), c.Type, c.Wanted)
		if other[what]++; other[what] == 1 {
			order = append(order, what)
		}
	}
	for _, what := range order {
		warnings = append(warnings, fmt.Sprintf("Tensors with %s, as llama.cpp has it: %d of %d.", what, other[what], len(g.tensors)))
	}
	return warnings
}

// table lists the tensors for the file's header.
func (g *GGUF) table() (list []gguf.Tensor) {
	for _, t := range g.tensors {
		list = append(list, t.Tensor)
	}
	return list
}

// Size is the length of the file in bytes.
func (g *GGUF) Size() int64 {
	head, err := gguf.NewWriter(io.Discard, g.metadata, g.table())
	if err != nil {
		panic(err) // verify has written it
	}
	return head.Size()
}

// Write writes the file: it appears under its name when all of it is written; before, and where that fails, there is
// nothing. Errors are *usererr.Error: a file that is there, a disk that is too full, values that a type cannot hold;
// and those of reading, of writing, and ctx's.
func (g *GGUF) Write(ctx context.Context, out checkpoint.Store, file string) error {
	return PublishFile(out, file, g.Size(), func(f io.Writer) error { return g.Stream(ctx, f) })
}

// Stream writes the file's bytes.
func (g *GGUF) Stream(ctx context.Context, f io.Writer) error {
	w, err := gguf.NewWriter(f, g.metadata, g.table())
	if err != nil {
		return err
	}
	meter := events.NewMeter(w.Size(), func(p events.Part) {
		if g.options.Tell != nil {
			g.options.Tell(p)
		}
	})
	defer meter.End()
	var pieces []piece
	var names []string
	for _, t := range g.tensors {
		for _, p := range t.pieces(g.weights) {
			pieces, names = append(pieces, p), append(names, t.Name)
		}
	}
	next := 0
	err = inOrder(ctx, pieces, func(data []byte) error {
		meter.Add(int64(len(data)))
		next++
		return w.Write(names[next-1], data)
	})
	if err != nil {
		return err
	}
	return w.Close()
}
