//go:build !js

package model_test

import (
	"flag"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/engine"
	"qlora-wgpu/internal/model"
	"qlora-wgpu/internal/pretrained"
	"qlora-wgpu/internal/reference"
	"qlora-wgpu/internal/reference/referencetest"
	"qlora-wgpu/internal/safetensors"
	"qlora-wgpu/internal/settings"
	"qlora-wgpu/internal/testfiles"
	"qlora-wgpu/paging"
)

// Relative paths count from the repository's root.
var (
	caseFlag      = flag.String("case", "", "TestLayerByLayer: the folder of a parity case")
	dumpFlag      = flag.String("dump", "", "TestLayerByLayer: a safetensors file with activations to compare instead of the device's")
	writeFlag     = flag.String("write", "", "TestLayerByLayer: where to write the float64 activations, as safetensors")
	allowanceFlag = flag.Float64("allowance", 1e-10, "TestLayerByLayer: the NMSE that a tensor may have")
)

// onDevice are the float64 names of what the device's tensors hold where they are freed: queries and keys are rotated
// in their place, and the gradients of gate and up take theirs.
var onDevice = map[string]string{
	"embedded": "embedded", "input_layernorm": "input_norm", "q": "q_rotated", "k": "k_rotated", "v": "v", "attention": "attention",
	"attention output": "o", "middle": "middle", "post_attention_layernorm": "post_attention_norm", "gate": "gate", "up": "up",
	"mlp hidden": "mlp_hidden", "mlp output": "down", "layer output": "output", "model.norm": "norm", "logits": "logits",
}

var gradientsOnDevice = map[string]string{
	"d normed": "norm", "d mlp hidden": "mlp_hidden", "gate": "gate", "up": "up", "dx mlp": "post_attention_norm",
	"d attention": "attention", "dq": "q", "dk": "k", "dv": "v", "dx attention": "input_norm",
}

// normedOnDevice and its gradients are the names that are others where queries and keys are normed: the projections
// stay.
var (
	normedOnDevice          = map[string]string{"q": "q", "k": "k", "q normed": "q_rotated", "k normed": "k_rotated"}
	normedGradientsOnDevice = map[string]string{"dq projection": "q", "dk projection": "k", "dq": "q_norm", "dk": "k_norm"}
)

// names are onDevice's and gradientsOnDevice's for the model.
func (w *twin) names() (forward, backward map[string]string) {
	forward, backward = maps.Clone(onDevice), maps.Clone(gradientsOnDevice)
	if w.float64.Spec.Layers[0].QKNorm != reference.NoQKNorm {
		maps.Copy(forward, normedOnDevice)
		maps.Copy(backward, normedGradientsOnDevice)
	}
	if w.float64.Spec.EmbeddingScale != 0 {
		delete(forward, "embedded")
		forward["embedded scaled"] = "embedded"
	}
	if w.float64.Spec.Layers[0].Norms != reference.NormsBefore {
		maps.Copy(forward, map[string]string{
			"post_attention_layernorm": "attention_post_norm", "pre_feedforward_layernorm": "post_attention_norm",
			"post_feedforward_layernorm": "mlp_post_norm",
		})
	}
	return forward, backward
}

// trace gives what the device computes for the input, under the names of the float64 trace.
func (w *twin) trace(in reference.Input) map[string][]float64 {
	layers := len(w.float64.Layers)
	saved := map[string]*gpu.Tensor{}
	save := func(rec *gpu.Recorder, t *gpu.Tensor, kind, name string, layer int) {
		switch name {
		case "embedded", "norm", "logits":
		default:
			name = fmt.Sprintf("layers.%d.%s", layer, name)
		}
		saved[kind+name] = w.copyOf(rec, t)
	}
	forward, backward := w.names()
	count := map[string]int{}
	w.run(in, pass{observe: func(rec *gpu.Recorder, t *gpu.Tensor) {
		if name, ok := forward[t.Name]; ok {
			save(rec, t, "", name, count[name])
			count[name]++
		}
	}}, w.model.Evaluate)
	backwards := map[string]int{}
	w.run(in, pass{observe: func(rec *gpu.Recorder, t *gpu.Tensor) {
		if name, ok := backward[t.Name]; ok && (t.Name == "d normed" || len(backwards) > 0) {
			backwards[name]++
			save(rec, t, "d ", name, layers-backwards[name])
		}
	}}, func(p *model.Pass) { w.model.Train(p, paging.Recompute) })
	got := map[string][]float64{}
	for name, t := range saved {
		got[name] = w.read(t)
		if name == "logits" {
			got[name] = withoutPadding(got[name], t.Cols, w.float64.Spec.Vocab)
		}
	}
	return got
}

// withoutPadding drops the columns from cols on.
func withoutPadding(x []float64, padded, cols int) (out []float64) {
	for first := 0; first < len(x); first += padded {
		out = append(out, x[first:first+cols]...)
	}
	return out
}

// drift is the first tensor, in the order in which a pass computes them, that is off.
type drift struct {
	reference.Activation
	nmse     float64
	row, col int // of the largest error
	got      float64
	before   string // the last one that is right
}

func (d *drift) String() string {
	before := d.before
	if before == "" {
		before = "none"
	}
	return fmt.Sprintf("%s is the first that drifts, by an NMSE of %.1e: row %d, column %d is %g instead of %g; the last right one is %s",
		d.Name, d.nmse, d.row, d.col, d.got, d.Values[d.row*d.Cols+d.col], before)
}

// firstDrift compares what there is of got with the float64 trace; nil where all is right.
func firstDrift(t *testing.T, want []reference.Activation, got map[string][]float64, allowance float64) *drift {
	t.Helper()
	known := map[string]bool{}
	before := ""
	var first *drift
	for _, a := range want {
		known[a.Name] = true
		values, ok := got[a.Name]
		if !ok {
			continue
		}
		require.Equal(t, len(a.Values), len(values), "elements of %s [%d, %d]", a.Name, len(a.Values)/a.Cols, a.Cols)
		nmse := reference.NMSE(values, a.Values)
		t.Logf("%-32s NMSE %.1e", a.Name, nmse)
		if !(nmse <= allowance) && first == nil {
			first = &drift{Activation: a, nmse: nmse, before: before}
			largest := -1.0
			for i, v := range a.Values {
				if e := math.Abs(values[i] - v); !(e <= largest) {
					largest, first.row, first.col, first.got = e, i/a.Cols, i%a.Cols, values[i]
				}
			}
		}
		before = a.Name
	}
	compared := 0
	for name := range got {
		require.True(t, known[name], "%s is none of the names of the float64 trace; -write lists them", name)
		compared++
	}
	require.Positive(t, compared)
	return first
}

func rooted(t *testing.T, path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(testfiles.Root(t), path)
}

// TestLayerByLayer compares what the device computes for a case's first micro-batch with float64, tensor by tensor,
// and names the first that drifts. Without a flag it runs the repository's cases. docs/porting-a-family.md tells how
// to use it.
func TestLayerByLayer(t *testing.T) {
	check := func(t *testing.T, dir string) {
		c, err := referencetest.Open(dir)
		require.NoError(t, err)
		in := c.Steps[0][0]
		var want reference.Trace
		c.Decoder.Train(c.Decoder.Embed(in), in, &want)
		if *writeFlag != "" {
			write(t, rooted(t, *writeFlag), want.Activations)
		}
		var got map[string][]float64
		if *dumpFlag != "" {
			got = dumped(t, rooted(t, *dumpFlag))
		} else {
			q := settings.Quantization{Quantize: settings.QuantizedNF4, BlockSize: 64}
			if !c.Quantized {
				q.Quantize = settings.Unquantized
			}
			source, err := pretrained.Open(filepath.Join(dir, "model"))
			require.NoError(t, err)
			defer source.Close()
			o := model.LoadOptions{Format: engine.FormatsOf(source.Spec, q)}
			got = load(t, filepath.Join(dir, "model"), c.Decoder, o).trace(in)
			require.Greater(t, len(got), len(want.Activations)*2/3, "the device's tensors have other names")
		}
		if d := firstDrift(t, want.Activations, got, *allowanceFlag); d != nil {
			t.Fatal(d)
		}
	}
	if *caseFlag != "" {
		check(t, rooted(t, *caseFlag))
		return
	}
	found, err := filepath.Glob("../parity/testdata/*/case.json")
	require.NoError(t, err)
	require.NotEmpty(t, found)
	for _, path := range found {
		t.Run(filepath.Base(filepath.Dir(path)), func(t *testing.T) { check(t, filepath.Dir(path)) })
	}
}

// dumped reads activations that another program wrote.
func dumped(t *testing.T, path string) map[string][]float64 {
	tensors, err := referencetest.Tensors(path)
	require.NoError(t, err)
	got := map[string][]float64{}
	for name, tensor := range tensors {
		got[name] = referencetest.Wide(tensor.Values)
	}
	return got
}

func write(t *testing.T, path string, activations []reference.Activation) {
	var tensors []safetensors.Data
	for _, a := range activations {
		tensors = append(tensors, safetensors.Data{
			Name: a.Name, DType: safetensors.F32, Shape: []int{len(a.Values) / a.Cols, a.Cols},
			Bytes: safetensors.Float32Bytes(narrow(a.Values)),
		})
	}
	f, err := os.Create(path)
	require.NoError(t, err)
	require.NoError(t, safetensors.Write(f, nil, tensors))
	require.NoError(t, f.Close())
}

// A mistake in a layer shows first in the tensor that it is made in.
func TestTheFirstTensorThatDriftsIsTheOneWithTheMistake(t *testing.T) {
	for name, c := range map[string]struct {
		spec     reference.Spec
		mistakes map[string]func(d *reference.Decoder) // by the tensor that drifts first
	}{
		"biased": {biased, map[string]func(d *reference.Decoder){
			"":                             func(*reference.Decoder) {},
			"embedded":                     func(d *reference.Decoder) { d.Embedding[3*small.Hidden+7] += 0.1 },
			"layers.1.v":                   func(d *reference.Decoder) { d.Layers[1].Attention.V.W[5] += 0.1 },
			"layers.0.k_rotated":           func(d *reference.Decoder) { d.Layers[0].Attention.K.Bias[5] += 0.1 },
			"layers.0.q_rotated":           func(d *reference.Decoder) { d.Layers[0].Attention.Spec.RoPE.Theta = 200 },
			"layers.1.attention":           func(d *reference.Decoder) { d.Layers[1].Attention.Layer.Window = 4 },
			"layers.0.post_attention_norm": func(d *reference.Decoder) { d.Layers[0].MLP.Spec.NormEps = 0.1 },
			"layers.1.down":                func(d *reference.Decoder) { d.Layers[1].MLP.Down.LoRA.Scaling *= 1.1 },
			"norm":                         func(d *reference.Decoder) { d.Norm[3] *= 1.5 },
			"logits":                       func(d *reference.Decoder) { d.Head[9] += 0.5 },
		}},
		"normed": {normed, map[string]func(d *reference.Decoder){
			"":                   func(*reference.Decoder) {},
			"layers.1.k":         func(d *reference.Decoder) { d.Layers[1].Attention.K.LoRA.A[7] += 1 },
			"layers.1.q_rotated": func(d *reference.Decoder) { d.Layers[1].Attention.QNorm[3] *= 1.1 },
			"layers.0.k_rotated": func(d *reference.Decoder) { d.Layers[0].Attention.KNorm[3] *= 1.1 },
		}},
	} {
		got := open(t, c.spec, nil).trace(packed)
		for want, make := range c.mistakes {
			t.Run(name+"/"+want, func(t *testing.T) {
				d := random(t, c.spec)
				make(d)
				var trace reference.Trace
				d.Train(d.Embed(packed), packed, &trace)
				requireDrift(t, want, firstDrift(t, trace.Activations, got, *allowanceFlag))
			})
		}
	}
}

func requireDrift(t *testing.T, want string, d *drift) {
	t.Helper()
	if want == "" {
		require.Nil(t, d)
		return
	}
	require.NotNil(t, d)
	require.Equal(t, want, d.Name, d)
}

func TestADumpIsComparedByItsNames(t *testing.T) {
	d := random(t, small)
	var trace reference.Trace
	d.Train(d.Embed(packed), packed, &trace)
	path := filepath.Join(t.TempDir(), "dump.safetensors")
	write(t, path, trace.Activations)
	got := dumped(t, path)
	require.Len(t, got, len(trace.Activations))
	requireDrift(t, "", firstDrift(t, trace.Activations, got, 1e-13))
	got["d layers.0.k"][2*24+5] += 1
	requireDrift(t, "d layers.0.k", firstDrift(t, trace.Activations, got, 1e-13))
	require.Contains(t, firstDrift(t, trace.Activations, got, 1e-13).String(), "d layers.0.k is the first that drifts, by an NMSE of")
	require.Contains(t, firstDrift(t, trace.Activations, got, 1e-13).String(), "row 2, column 5 is")
	got["layers.1.gate"][0] = math.NaN()
	require.Contains(t, firstDrift(t, trace.Activations, got, 1e-13).String(), "NaN")
}
