//go:build !js

package model_test

import (
	"context"
	"encoding/binary"
	"math"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/frozen"
	"qlora-wgpu/internal/kernels"
	"qlora-wgpu/internal/model"
	"qlora-wgpu/internal/optim"
	"qlora-wgpu/internal/pretrained"
	"qlora-wgpu/internal/reference"
	"qlora-wgpu/internal/reference/referencetest"
	"qlora-wgpu/lora"
	"qlora-wgpu/paging"
)

// device is one for all tests, so that each kernel is compiled once.
var device = sync.OnceValues(func() (*gpu.Device, error) {
	return gpu.Open(context.Background(), gpu.Options{Adapter: os.Getenv("QLORA_DEVICE")})
})

// twin is a model on the device and in float64, made of the same files.
type twin struct {
	t       *testing.T
	dev     *gpu.Device
	model   *model.Model
	adapter *lora.Adapter
	stats   *gpu.Tensor
	float64 *reference.Decoder
	cost    int64 // FLOPs of the last pass
}

const rank, alpha = 3, 4.5 // a rank that is padded

// open makes the twins of a random model.
func open(t *testing.T, s reference.Spec, plan *paging.Plan) *twin {
	t.Helper()
	dir := folder(t, s)
	d := adapted(t, dir)
	require.Equal(t, s, d.Spec, "the files do not say it all")
	return load(t, dir, d, model.LoadOptions{Format: frozen.NF4(64), Plan: plan})
}

// random is a random model in float64 alone, the same for the same description.
func random(t *testing.T, s reference.Spec) *reference.Decoder { return adapted(t, folder(t, s)) }

// adapted is the folder's model with an adapter in every linear.
func adapted(t *testing.T, dir string) *reference.Decoder {
	t.Helper()
	d, err := referencetest.Decoder(dir, true)
	require.NoError(t, err)
	for _, l := range d.Linears() {
		a := values(referencetest.Key(l, "A"), rank*l.In, 0, 1/math.Sqrt(float64(l.In)))
		b := values(referencetest.Key(l, "B"), l.Out*rank, 0, 0.3)
		l.Attach(rank, alpha/rank, referencetest.Wide(a), referencetest.Wide(b))
	}
	return d
}

// load puts the folder's model on the device and gives it the float64 model's adapters.
func load(t *testing.T, dir string, d *reference.Decoder, o model.LoadOptions) *twin {
	t.Helper()
	dev, err := device()
	require.NoError(t, err)
	source, err := pretrained.Open(dir)
	require.NoError(t, err)
	defer source.Close()
	for _, warning := range source.Warnings {
		t.Log(warning)
	}
	m, err := model.Load(t.Context(), dev, source, o)
	require.NoError(t, err)
	t.Cleanup(m.Release)
	var config lora.Config
	var tensors []lora.Tensor
	for _, l := range d.Linears() {
		a := l.LoRA
		if a == nil {
			continue
		}
		config.Rank, config.Alpha = a.Rank, a.Scaling*float64(a.Rank)
		config.Targets = append(config.Targets, l.Name[strings.LastIndexByte(l.Name, '.')+1:])
		tensors = append(tensors,
			lora.Tensor{Name: referencetest.Key(l, "A"), Rows: a.Rank, Cols: l.In, Values: narrow(a.A)},
			lora.Tensor{Name: referencetest.Key(l, "B"), Rows: l.Out, Cols: a.Rank, Values: narrow(a.B)})
	}
	adapter, err := lora.Attach(dev, m.Linears(), config, optim.Options{})
	require.NoError(t, err)
	t.Cleanup(adapter.Detach)
	require.NoError(t, adapter.SetTensors(tensors, ""))
	stats, err := dev.NewTensor("statistics", gpu.F32, 1, kernels.StatCount)
	require.NoError(t, err)
	t.Cleanup(stats.Release)
	return &twin{t: t, dev: dev, model: m, adapter: adapter, stats: stats, float64: d}
}

func narrow(x []float64) []float32 {
	out := make([]float32, len(x))
	for i, v := range x {
		out[i] = float32(v)
	}
	return out
}

// pass is how a pass is made; the zero value has one chunk and keeps layers' inputs.
type pass struct {
	activations paging.Activations
	kept        gpu.DType
	chunk       int // tokens of a chunk; 0: all
	room        int // tokens that the pass is planned for; 0: those that it has
	dropout     float32
	key         kernels.DropoutKey
	cache       *model.Cache
	loss        model.Loss // nil: the cross-entropy
	observe     func(rec *gpu.Recorder, t *gpu.Tensor)
}

// run plans f for its largest input, records it over this one, and submits it.
func (w *twin) run(in reference.Input, o pass, f func(p *model.Pass)) {
	w.t.Helper()
	largest := in
	if o.room > len(in.IDs) {
		largest = reference.Segments([][]uint32{make([]uint32, o.room)}, [][]int32{make([]int32, o.room)})
	}
	size := model.Size{Tokens: len(largest.IDs), Chunk: len(largest.IDs)}
	if o.chunk > 0 {
		size.Chunk = o.chunk
	}
	arena, cached := w.dev.NewArena(), 0
	defer arena.Release()
	record := func(rec *gpu.Recorder, in reference.Input) {
		p := model.NewPass(lora.Pass{Rec: rec, Arena: arena, Dropout: o.dropout, Key: o.key}, model.Input(in), size)
		p.Stats, p.Kept, p.Cache = w.stats, o.kept, o.cache
		if o.loss != nil {
			p.Loss = o.loss
		}
		if o.observe != nil && !rec.Dry() {
			p.Observe = func(t *gpu.Tensor) { o.observe(rec, t) }
		}
		f(p)
	}
	if o.cache != nil {
		cached = o.cache.Length()
	}
	require.NoError(w.t, w.model.SetMaxPositions(cached+size.Tokens))
	store := w.model.Store()
	store.Log("pass", func() { arena.Plan("pass", func(rec *gpu.Recorder) { record(rec, largest) }) })
	require.NoError(w.t, arena.Reserve())
	rec := w.dev.Record("pass")
	rec.Upload(w.stats.Single(), make([]byte, 4*kernels.StatCount))
	for _, g := range w.adapter.State.Grad {
		kernels.Fill(rec, g, 0)
	}
	arena.Begin("pass")
	store.Begin("pass")
	record(rec, in)
	arena.End()
	require.NoError(w.t, rec.Submit())
	w.cost = rec.Cost
	require.NoError(w.t, w.dev.Wait(w.t.Context()))
	require.NoError(w.t, store.Finish())
}

// loss is the sum of the last pass's losses.
func (w *twin) loss() float64 {
	data, err := w.dev.Read(w.t.Context(), w.stats.Single())
	require.NoError(w.t, err)
	return float64(math.Float32frombits(binary.LittleEndian.Uint32(data[4*kernels.StatLoss:])))
}

// train gives the device's loss and gradients.
func (w *twin) train(in reference.Input, o pass) (loss float64, gradients []lora.Tensor) {
	w.t.Helper()
	w.run(in, o, func(p *model.Pass) { w.model.Train(p, o.activations) })
	gradients, err := w.adapter.Tensors(w.t.Context(), w.adapter.State.Grad)
	require.NoError(w.t, err)
	return w.loss(), gradients
}

// evaluate gives the device's loss without a backward.
func (w *twin) evaluate(in reference.Input, o pass) float64 {
	w.t.Helper()
	w.run(in, o, w.model.Evaluate)
	return w.loss()
}

// logits are those [V] after ids, which continue the cache's tokens.
func (w *twin) logits(ids []uint32, cache *model.Cache) []float64 {
	w.t.Helper()
	in := reference.Input{IDs: ids, FirstKey: make([]uint32, len(ids))}
	for i := range ids {
		in.Positions, in.Targets = append(in.Positions, uint32(cache.Length()+i)), append(in.Targets, -100)
	}
	var out *gpu.Tensor
	w.run(in, pass{cache: cache}, func(p *model.Pass) {
		if logits := w.model.Logits(p); !p.Rec.Dry() {
			out = w.copyOf(p.Rec, logits)
		}
	})
	return w.read(out)[:w.float64.Spec.Vocab]
}

// copyOf records a copy of what the tensor holds at this place of the recording; read gives it after the submission.
func (w *twin) copyOf(rec *gpu.Recorder, t *gpu.Tensor) *gpu.Tensor {
	saved, err := w.dev.NewTensor(t.Name, t.DType, t.Rows, t.Cols)
	require.NoError(w.t, err)
	from, to := t.Single(), saved.Single()
	from.Size, to.Size = t.Bytes(), t.Bytes() // without padding
	rec.Copy(to, from)
	return saved
}

func (w *twin) read(saved *gpu.Tensor) []float64 {
	x, err := w.dev.ReadFloat32(w.t.Context(), saved)
	require.NoError(w.t, err)
	saved.Release()
	return referencetest.Wide(x)
}
