//go:build !js

package drift

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/internal/checkpoint"
	"qlora-wgpu/internal/convert"
	"qlora-wgpu/internal/dataset"
	"qlora-wgpu/internal/demo/demotest"
	"qlora-wgpu/internal/engine"
	"qlora-wgpu/internal/events"
	"qlora-wgpu/internal/frozen"
	"qlora-wgpu/internal/gguf"
	"qlora-wgpu/internal/model"
	"qlora-wgpu/internal/model/spec"
	"qlora-wgpu/internal/pretrained"
	"qlora-wgpu/internal/settings"
	"qlora-wgpu/lora"
)

func TestMain(m *testing.M) {
	demotest.OwnCache()
	os.Exit(m.Run())
}

// set is a model with adapters, and the rows that they are measured on.
type set struct {
	t        *testing.T
	model    *pretrained.Model
	adapters []*lora.Files
	quantize string // as training has it
	dir      string // of what is written
}

func newSet(t *testing.T, layers int, change func(config map[string]any), ranks ...int) *set {
	dir := demotest.Model(t, layers, change)
	s := &set{t: t, dir: t.TempDir(), quantize: settings.QuantizedNF4}
	for i, rank := range ranks {
		f, err := lora.Open(checkpoint.Files{}, demotest.Adapter(t, dir, rank, uint64(i+1), 0.1))
		require.NoError(t, err)
		s.adapters = append(s.adapters, f)
	}
	s.model = s.open(dir)
	return s
}

func (s *set) open(path string) *pretrained.Model {
	m, err := pretrained.Open(path)
	require.NoError(s.t, err)
	s.t.Cleanup(func() { m.Close() })
	return m
}

func (s *set) live(data *dataset.Source) *Live {
	kept := settings.Default[settings.Quantization]()
	kept.Quantize = s.quantize
	l, err := Open(s.t.Context(), Options{
		Model: s.model, Adapters: s.adapters, Quantization: kept, Engine: engine.Options{Autotune: "off"},
	}, data, func(e events.Event) {
		if _, told := e.(events.Evaluating); !told {
			s.t.Error(e)
		}
	})
	require.NoError(s.t, err)
	s.t.Cleanup(l.Close)
	return l
}

func (s *set) weights(dequantized bool) *convert.Weights {
	base := convert.Base{Dequantized: dequantized, NF4: &spec.Quantized{BlockSize: 64, Double: true}}
	w, _, err := convert.New(s.model, s.adapters, base)
	require.NoError(s.t, err)
	return w
}

// folder is the merged folder.
func (s *set) folder(name string, dequantized bool, dtype convert.Type) Written {
	w, dir := s.weights(dequantized), filepath.Join(s.dir, name)
	require.NoError(s.t, w.WriteFolder(s.t.Context(), checkpoint.Files{}, dir, convert.Options{Type: dtype}))
	return Written{Model: s.open(dir), Path: dir, Merged: w.Rows(), Dequantized: dequantized}
}

func (s *set) compare(l *Live, w Written) *Report {
	r, err := l.Compare(s.t.Context(), w)
	require.NoError(s.t, err)
	return r
}

func rows(t *testing.T, lines string) *dataset.Source {
	data, err := dataset.Read(strings.NewReader(lines), "rows.jsonl")
	require.NoError(t, err)
	return data
}

const colours = `{"prompt":"The cup is pink. The shoe is gray. What color is the cup?","completion":"The cup is pink."}
{"prompt":"Tom has a ball. Ann has a kite. Who has the kite?","completion":"Ann has the kite."}
`

// What is added to the weights that training saw is the live adapter, also where several are: to the bit nearly in
// float32, to its rounding in bfloat16. Added to those of the files it is another model, and loaded in NF4 again too.
func TestAFolderAgainstTheLiveAdapter(t *testing.T) {
	s := newSet(t, 2, nil, 4, 6)
	l := s.live(rows(t, colours))
	exact := s.compare(l, s.folder("exact", true, convert.F32))
	require.Greater(t, exact.Base.KL, 0.5, "the adapter changes something")
	require.Greater(t, math.Abs(exact.Base.Loss-exact.Live.Loss), 0.1)
	require.Zero(t, exact.Live.KL)
	require.Equal(t, 1.0, exact.Live.SameToken)
	require.Less(t, exact.Merged.KL, 1e-9)
	require.InEpsilon(t, exact.Live.Loss, exact.Merged.Loss, 1e-5)
	require.Equal(t, "F32", exact.Merged.Weights)
	require.Equal(t, Rendered{Same: true, Rows: 2, Tokens: exact.Template.Tokens}, exact.Template)
	require.Greater(t, exact.Template.Tokens, exact.AnswerTokens)
	require.NotZero(t, exact.AnswerTokens)
	require.False(t, l.Slow())
	large := *s.model
	large.Spec.Vocab = 1 << 24
	require.Equal(t, l.dev.Info.Type == "cpu", (&Live{options: Options{Model: &large}, dev: l.dev}).Slow())
	require.Equal(t, 2, exact.Rows)

	rounded := s.compare(l, s.folder("rounded", true, convert.BF16))
	require.Less(t, rounded.Merged.KL, 1e-3)
	require.Greater(t, rounded.Merged.KL, 100*exact.Merged.KL+1e-9, "what the files hold is measured, with its rounding")
	require.Greater(t, rounded.Requantized.KL, 100*rounded.Merged.KL, "quantized to NF4 once more")
	require.Equal(t, exact.Live, rounded.Live, "it is the same each time")

	original := s.compare(l, s.folder("original", false, convert.F32))
	require.Greater(t, original.Merged.KL, 100*rounded.Merged.KL)
	require.Greater(t, original.Requantized.KL, 100*rounded.Merged.KL)
	require.Less(t, original.Merged.KL, original.Base.KL)
}

// The KL and the losses of a report are those of the probabilities, worked out from what one engine says of each token.
func TestDivergence(t *testing.T) {
	live, other := []float32{1, 3, -2, 0.5}, []float32{2, 1, 0, 0.5}
	p, q := softmax(live), softmax(other)
	want := 0.0
	for i := range p {
		want += p[i] * math.Log(p[i]/q[i])
	}
	require.InDelta(t, want, divergence(live, other), 1e-12)
	require.Greater(t, want, 0.1)
	require.Zero(t, divergence(live, live))
	require.InDelta(t, want, divergence([]float32{1001, 1003, 998, 1000.5}, []float32{-998, -999, -1000, -999.5}), 1e-12, "no overflow")
	require.True(t, math.IsNaN(divergence(live, []float32{1, float32(math.NaN()), 0, 0})))
}

func softmax(x []float32) (p []float64) {
	sum := 0.0
	for _, v := range x {
		sum += math.Exp(float64(v))
	}
	for _, v := range x {
		p = append(p, math.Exp(float64(v))/sum)
	}
	return p
}

// Long answers pass the head in parts, and long sequences the model in chunks: each target's logits are its own.
func TestLogitsOfLongAnswers(t *testing.T) {
	s := newSet(t, 1, func(c map[string]any) { c["max_position_embeddings"] = 2048 }, 4)
	long := func(n int) string { return strings.Repeat("Ann has a kite. The shoe is gray. ", n) }
	l := s.live(rows(t, fmt.Sprintf(`{"prompt":%q,"completion":%q}`+"\n", long(85), long(40))+colours))
	require.Greater(t, l.longest, 1024+128)
	require.Less(t, l.longest-l.tokens, 1024)
	in := l.rows[0].inputs[0]
	err := l.run(t.Context(), s.model, "", frozen.NF4(64), l.adapter, func(e *engine.Engine) error {
		want, err := e.TargetLosses(t.Context(), in)
		require.NoError(t, err)
		answers, err := l.answers(t.Context(), e)
		require.NoError(t, err)
		require.Greater(t, len(answers), len(want))
		_, targets := in.Supervised()
		for i, loss := range want {
			require.Equal(t, targets[i], answers[i].target)
			require.InDelta(t, loss, answers[i].loss, 1e-4, "target %d", i)
		}
		return nil
	})
	require.NoError(t, err)
}

// Of rows whose logits there is no room for so much is measured as there is, and the report says so.
func TestFirstTargets(t *testing.T) {
	in := model.Input{IDs: []uint32{1, 2, 3, 4, 5}, Positions: make([]uint32, 5), FirstKey: make([]uint32, 5)}
	in.Targets = []int32{-100, 3, -100, 5, -100}
	for n, tokens := range map[int]int{1: 2, 2: 5, 3: 5} {
		cut, targets := firstTargets(in, n)
		require.Equal(t, min(n, 2), targets)
		require.Len(t, cut.IDs, tokens)
		left, _ := cut.Supervised()
		require.Len(t, left, targets)
	}
	_, targets := firstTargets(in, 0)
	require.Zero(t, targets)
	r := Report{Merged: &Measured{}, RowsLeftOut: 3}
	require.Contains(t, r.String(), "3 rows are left out")
}

// A folder whose weights are not what was merged is told, and so are a template and a tokenizer that give other ids.
// Over a base that is not quantized the weights of the files are those that training saw.
func TestDamageIsTold(t *testing.T) {
	s := newSet(t, 1, nil, 4)
	s.quantize = settings.Unquantized
	l := s.live(rows(t, colours))
	w := s.folder("damaged", false, convert.F32)
	good := s.compare(l, w)
	require.Less(t, good.Merged.KL, 1e-9)
	require.Contains(t, good.Live.Weights, "bfloat16")
	require.NotContains(t, strings.Join(good.Warnings, "\n"), "merged weights drift")

	damaged := w
	damaged.Model = w.Model.WithRows(func(tensor string, first, n int, dst []float32) error {
		err := w.Model.ReadRows(tensor, first, n, dst)
		if strings.Contains(tensor, "_proj") {
			for i := range dst {
				dst[i] *= 1.5
			}
		}
		return err
	})
	r := s.compare(l, damaged)
	require.Greater(t, r.Merged.KL, Threshold)
	require.Regexp(t, `The merged weights drift \(KL .*: their type is too coarse`, strings.Join(r.Warnings, "\n"))

	tokenizer := filepath.Join(w.Path, "tokenizer_config.json")
	text, err := os.ReadFile(tokenizer)
	require.NoError(t, err)
	changed := strings.Replace(string(text), "+ message['content']", "+ ' ' + message['content']", 1)
	require.NotEqual(t, string(text), changed)
	require.NoError(t, os.WriteFile(tokenizer, []byte(changed), 0o666))
	w.Model = s.open(w.Path)
	r = s.compare(l, w)
	require.False(t, r.Template.Same)
	d := r.Template.Differs
	require.Equal(t, 1, d.Row)
	ids := l.rows[0].samples[0].IDs
	require.Equal(t, int(ids[d.Position]), *d.Training)
	require.NotEqual(t, *d.Training, *d.Written)
	require.Contains(t, strings.Join(r.Warnings, "\n"), d.String())
	require.Contains(t, r.String(), "other ids than in training, row 1, position ")

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = l.Compare(ctx, w)
	require.ErrorIs(t, err, context.Canceled)
}

// A quantized file is measured as it is, beside the weights that it was made of.
func TestAQuantizedFile(t *testing.T) {
	s := newSet(t, 1, nil, 4)
	l := s.live(rows(t, colours))
	w, path := s.weights(true), filepath.Join(s.dir, "m.gguf")
	file, _, err := w.GGUF(convert.GGUFOptions{Type: gguf.MostlyQ4_0})
	require.NoError(t, err)
	require.NoError(t, file.Write(t.Context(), checkpoint.Files{}, path))
	r := s.compare(l, Written{Model: s.open(path), Path: path, Merged: w.Rows(), Dequantized: true})
	require.Less(t, r.Merged.KL, 1e-9)
	require.Contains(t, r.Requantized.Weights, "Q4_0")
	require.Greater(t, r.Requantized.KL, 1e-3)
	require.Less(t, r.Requantized.KL, r.Base.KL)
	require.Equal(t, min(Threshold, r.Base.KL/2), r.Threshold)
	require.True(t, r.Template.Same)

	text, err := json.Marshal(r)
	require.NoError(t, err)
	var fields map[string]any
	require.NoError(t, json.Unmarshal(text, &fields))
	for _, name := range []string{
		"rows", "rows_left_out", "answer_tokens", "base", "live", "merged", "requantized", "template", "threshold", "warnings",
	} {
		require.Contains(t, fields, name)
	}
	for _, name := range []string{"weights", "loss", "kl", "same_token"} {
		require.Contains(t, fields["requantized"], name)
	}
	require.Equal(t, map[string]any{"same": true, "rows": 2.0, "tokens": float64(r.Template.Tokens), "difference": nil}, fields["template"])
}

// The warnings name what would be better, and nothing where all is well.
func TestWarnings(t *testing.T) {
	at := func(kl float64) *Measured { return &Measured{KL: kl, Loss: 1 + kl, Weights: "Q4_K, Q6_K"} }
	report := func(base float64, merged, requantized *Measured, file bool) *Report {
		r := &Report{Base: *at(base), Live: *at(0), Merged: merged, Requantized: requantized, Template: Rendered{Same: true}}
		if r.written = &r.Merged; file {
			r.written = &r.Requantized
		}
		return r
	}
	id := 7
	for _, c := range []struct {
		r           *Report
		dequantized bool
		want        []string
	}{
		{report(2, at(Threshold), at(Threshold), true), false, nil},
		{report(2, at(0.3), at(0.31), true), false, []string{"--base dequantized adds it to those that it saw"}},
		{report(2, at(0.3), nil, false), true, []string{"f32 loses nothing"}},
		{report(2, at(1e-6), at(0.3), true), true, []string{"--type q8_0 or f16 costs less"}},
		{report(2, at(1e-6), &Measured{KL: 0.3, Weights: "Q8_0"}, true), true, []string{"--type f16 or f32 costs less"}},
		{report(2, at(1e-6), at(0.3), false), true, []string{"load it in 16 bits"}},
		{report(2, at(3), nil, false), true, []string{"worse than the base model without the adapter (loss 4.0000 and 3.0000)", "f32 loses"}},
		{report(0.018, at(1e-6), at(0.017), false), true, []string{"KL 0.017, more than 0.009): load it in 16 bits"}}, // the adapter is gone
		{report(0, at(1e-9), nil, false), true, nil},                                                                  // there never was one
		{report(2, &Measured{KL: 3, Loss: 0.9}, nil, false), false, []string{"with a lower loss"}},
	} {
		warnings := c.r.warnings(Written{Dequantized: c.dequantized})
		require.Len(t, warnings, len(c.want), warnings)
		for i, want := range c.want {
			require.Contains(t, warnings[i], want)
		}
	}
	r := report(2, at(0), nil, false)
	r.Template = Rendered{Differs: &Difference{Row: 3, Position: 9, Training: &id}}
	require.Contains(t, r.warnings(Written{})[0], "row 3, position 9: 7 in training, nothing from what was written")
}
