//go:build !js

package answer

import (
	"fmt"
	"io"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/checkpoint"
	"qlora-wgpu/internal/dataset"
	"qlora-wgpu/internal/demo/demotest"
	"qlora-wgpu/internal/events"
	"qlora-wgpu/internal/frozen"
	"qlora-wgpu/internal/host"
	"qlora-wgpu/internal/model"
	"qlora-wgpu/internal/optim"
	"qlora-wgpu/internal/pretrained"
	"qlora-wgpu/internal/settings"
	"qlora-wgpu/internal/usererr"
	"qlora-wgpu/lora"
	"qlora-wgpu/paging"
)

// With a budget, answers and losses are the same, and the allocator counts what was planned; a larger question plans
// again.
func TestInferenceWithinABudget(t *testing.T) {
	o := generation(demotest.Model(t, 5, nil))
	o.MaxTokens, o.CacheDir = 8, t.TempDir()
	o.Adapter = someAdapter(t, o.Model, allLinear, 1./16)
	data, _, err := dataset.Open(demotest.Rows(t, 8))
	require.NoError(t, err)
	resident := opened(t, o)
	text := ask(t, resident, question)
	stats, err := resident.Evaluate(t.Context(), data, 0, true)
	require.NoError(t, err)

	open := func(budget string) (*Answerer, *[]*paging.Plan) {
		o.VRAMBudget = budget
		plans := new([]*paging.Plan)
		a, err := Open(t.Context(), o.Inference, o.Sampling, func(e events.Event) {
			if memory, ok := e.(events.Memory); ok {
				*plans = append(*plans, memory.Plan)
			}
		})
		require.NoError(t, err)
		t.Cleanup(a.Close)
		return a, plans
	}
	ample, plans := open("1GiB")
	require.Equal(t, text, ask(t, ample, question))
	all := (*plans)[0]
	require.Equal(t, all.Peak, ample.session.Device.PeakBytes())
	require.Zero(t, ample.engine.Model.Store().TakeCounters().PageIns)

	least, plans := open(fmt.Sprintf("%dB", all.Minimum))
	require.Equal(t, text, ask(t, least, question))
	require.Len(t, *plans, 1)
	require.Equal(t, all.Minimum, (*plans)[0].Peak)
	require.Equal(t, all.Minimum, least.session.Device.PeakBytes())
	require.Less(t, float64(all.Minimum), 0.6*float64(all.Peak))
	require.Greater(t, least.engine.Model.Store().TakeCounters().PageIns, 5*8)
	less, _ := open(fmt.Sprintf("%dB", all.Minimum-1))
	err = less.Answer(t.Context(), settings.Question{Prompt: question}, nil)
	require.ErrorContains(t, err, fmt.Sprintf("(%d bytes) (give --vram-budget at least ", all.Minimum))

	both, plans := open(fmt.Sprintf("%dB", all.Peak))
	require.Equal(t, text, ask(t, both, question))
	got, err := both.Evaluate(t.Context(), data, 0, true)
	require.NoError(t, err)
	require.Equal(t, stats.Loss, got.Loss)
	require.Len(t, *plans, 2)
	require.Equal(t, (*plans)[1].Peak, both.session.Device.PeakBytes())
	require.Equal(t, text, ask(t, both, question))
	require.Len(t, *plans, 2, "there is room for both")

	o.VRAMBudget = "6 apples"
	_, err = Open(t.Context(), o.Inference, o.Sampling, func(events.Event) {})
	require.ErrorContains(t, err, "6 apples")
}

// A device that has no room for a larger question beside the weights is planned for again; and whatever an error leaves
// behind, the next question finds a model.
func TestAQuestionThatNeedsMoreThanTheDeviceHas(t *testing.T) {
	o := generation(demotest.Model(t, 5, func(config map[string]any) { config["max_position_embeddings"] = 2048 }))
	o.MaxTokens, o.CacheDir = 4, t.TempDir()
	long := strings.Repeat(question+" ", 30)
	fresh := opened(t, o)
	want := ask(t, fresh, long)
	bytes := fresh.session.Device.Bytes()
	wantShort := ask(t, fresh, question)
	data, _, err := dataset.Open(demotest.Rows(t, 8))
	require.NoError(t, err)

	grown := opened(t, o)
	require.Equal(t, wantShort, ask(t, grown, question))
	require.Less(t, grown.session.Device.Bytes(), bytes)
	require.Equal(t, want, ask(t, grown, long))
	require.Equal(t, bytes, grown.session.Device.Bytes(), "what the shorter question took is freed")

	a := opened(t, o)
	require.Equal(t, wantShort, ask(t, a, question))
	dev := a.session.Device
	dev.LimitMemory(dev.Bytes() + 64<<10)
	require.Equal(t, want, ask(t, a, long))
	require.Positive(t, a.engine.Plan().Budget)
	_, err = a.Evaluate(t.Context(), data, 0, true)
	require.NoError(t, err)

	a = opened(t, o)
	require.Equal(t, wantShort, ask(t, a, question))
	dev = a.session.Device
	dev.LimitMemory(1)
	require.Error(t, a.Answer(t.Context(), settings.Question{Prompt: long}, nil))
	dev.LimitMemory(0)
	require.Equal(t, wantShort, ask(t, a, question))
}

// Keys that no binding holds are a mistake of the setting, not a fault of the program.
func TestAnAnswerLongerThanABindingHolds(t *testing.T) {
	o := generation(demotest.Model(t, 1, func(config map[string]any) { config["max_position_embeddings"] = 1 << 20 }))
	o.MaxTokens = 1 << 20
	err := opened(t, o).Answer(t.Context(), settings.Question{Prompt: question}, nil)
	var mistake *usererr.Error
	require.ErrorAs(t, err, &mistake)
	require.ErrorContains(t, err, "a prompt with its answer, 1048576 tokens: kv cache needs 256.0 MiB in one binding")
	require.ErrorContains(t, err, "(lower max_tokens)")
}

// Two models on one device, as the page asks them: what the first holds is not there for the second, which is planned
// for what is left.
func TestTwoModelsOnADeviceWithoutRoomForBoth(t *testing.T) {
	o := generation(demotest.Model(t, 5, nil))
	o.MaxTokens = 4
	source, err := pretrained.Open(o.Model)
	require.NoError(t, err)
	defer source.Close()
	dev, err := gpu.Open(t.Context(), gpu.Options{})
	require.NoError(t, err)
	defer dev.Release()
	var planned int
	cache := t.TempDir() // the check of the kernels is the first one's
	open := func() *Answerer {
		in := Inputs{Model: source, Cache: host.MeasurementsIn(cache), Opened: dev}
		a, err := New(t.Context(), o.Inference, o.Sampling, in, func(e events.Event) {
			if _, again := e.(events.Warning); again {
				planned++
			}
		})
		require.NoError(t, err)
		t.Cleanup(a.Close)
		return a
	}
	first := open()
	text := ask(t, first, question)
	dev.LimitMemory(dev.Bytes() + first.engine.Model.FrozenBytes()*3/4)
	second := open()
	require.Equal(t, text, ask(t, second, question))
	require.Positive(t, second.engine.Plan().Budget)
	require.LessOrEqual(t, planned, 3, "each is a load")
	require.Equal(t, text, ask(t, first, question))
}

var allLinear = lora.Config{Rank: 4, Alpha: 8, Targets: []string{"all-linear"}}

// someAdapter writes an adapter of random values of this size over a model; the rank needs no padding.
func someAdapter(t *testing.T, folder string, config lora.Config, size float64) string {
	t.Helper()
	source, err := pretrained.Open(folder)
	require.NoError(t, err)
	defer source.Close()
	dev := gpu.NewDry(gpu.Options{})
	m, err := model.New(source.Spec, dev, frozen.NF4(64), nil)
	require.NoError(t, err)
	adapter, err := lora.Attach(dev, m.Linears(), config, optim.Options{})
	require.NoError(t, err)
	random := rand.New(rand.NewPCG(3, 3))
	var tensors []lora.Tensor
	for _, e := range adapter.State.Entries {
		values := make([]float32, e.Rows*e.Cols)
		for i := range values {
			values[i] = float32(random.NormFloat64() * size)
		}
		tensors = append(tensors, lora.Tensor{Name: e.Name, Rows: e.Rows, Cols: e.Cols, Values: values})
	}
	dir := t.TempDir()
	for name, write := range map[string]func(io.Writer) error{
		lora.ConfigFile:  func(w io.Writer) error { return config.WriteConfig(w, folder) },
		lora.WeightsFile: func(w io.Writer) error { return lora.Config{}.WriteWeights(w, tensors) },
	} {
		require.NoError(t, checkpoint.WriteFile(checkpoint.Files{}, filepath.Join(dir, name), write))
	}
	return dir
}
