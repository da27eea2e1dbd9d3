package lora

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"

	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/optim"
	"qlora-wgpu/internal/usererr"
)

// Config is an adapter's shape, in PEFT's terms.
type Config struct {
	Rank    int
	Alpha   float64
	RSLoRA  bool
	Dropout float64
	// Targets are module names (q_proj, …), or "all-linear" alone.
	Targets []string
}

// Scaling is alpha/r, with rsLoRA alpha/sqrt(r).
func (c Config) Scaling() float32 {
	if c.RSLoRA {
		return float32(c.Alpha / math.Sqrt(float64(c.Rank)))
	}
	return float32(c.Alpha / float64(c.Rank))
}

// Adapter is the trainable part of a model: its A and B matrices in flat state.
type Adapter struct {
	Config Config
	State  *optim.State
	linear []*Linear // those with an adapter
}

// padded is the rank as stored.
func padded(rank int) int { return (rank + 3) / 4 * 4 }

// Attach makes an adapter of all zeros and connects it with the linears that the targets name. Init or SetTensors
// fills it. The state's options say how and where the optimizer keeps its moments.
//
// Errors are *usererr.Error for a rank above a linear's smaller side or above what the device binds, and for a target
// that the model has not; and the device's, a *gpu.OutOfMemory where the state does not fit.
func Attach(dev *gpu.Device, linears []*Linear, c Config, state optim.Options) (*Adapter, error) {
	a := &Adapter{Config: c}
	all := len(c.Targets) == 1 && c.Targets[0] == "all-linear"
	matched := map[string]bool{}
	var entries []optim.Entry
	for _, l := range linears {
		l.A, l.B, l.DA, l.DB = nil, nil, nil, nil
		module := l.Name[strings.LastIndexByte(l.Name, '.')+1:]
		if !all && !slices.Contains(c.Targets, module) {
			continue
		}
		matched[module] = true
		if narrow := min(l.In, l.Out); c.Rank > narrow {
			return nil, usererr.New("attach adapter", "", "lora_r is %d, %s is %d×%d", c.Rank, l.Name, l.Out, l.In).
				Hinted("a rank of at most %d", narrow)
		}
		if size := gpu.F32.Size(padded(c.Rank) * max(l.In, l.Out)); size > dev.Limits.MaxBindingBytes {
			return nil, usererr.New("attach adapter", "", "lora_r is %d, a matrix of %s would take %d MiB where the device binds %d",
				c.Rank, l.Name, size>>20, dev.Limits.MaxBindingBytes>>20).Hinted("choose a lower rank")
		}
		a.linear = append(a.linear, l)
		entries = append(entries,
			optim.Entry{Name: keyA(l), Rows: padded(c.Rank), Cols: l.In},
			optim.Entry{Name: keyB(l), Rows: l.Out, Cols: padded(c.Rank)})
	}
	for _, t := range c.Targets {
		if !all && !matched[t] {
			return nil, usererr.New("attach adapter", "", "lora_target_modules has %q, the model has no such linear", t).
				Hinted("it has %s", strings.Join(modules(linears), ", "))
		}
	}
	var err error
	if a.State, err = optim.NewState(dev, entries, state); err != nil {
		return nil, err
	}
	for _, l := range a.linear {
		l.A, l.B = a.State.View(a.State.Param, keyA(l)), a.State.View(a.State.Param, keyB(l))
		l.DA, l.DB = a.State.View(a.State.Grad, keyA(l)), a.State.View(a.State.Grad, keyB(l))
		l.Scaling = c.Scaling()
	}
	return a, nil
}

// Detach disconnects the adapter from its linears and frees it.
func (a *Adapter) Detach() {
	for _, l := range a.linear {
		l.A, l.B, l.DA, l.DB = nil, nil, nil, nil
	}
	a.State.Release()
}

func modules(linears []*Linear) (names []string) {
	for _, l := range linears {
		if m := l.Name[strings.LastIndexByte(l.Name, '.')+1:]; !slices.Contains(names, m) {
			names = append(names, m)
		}
	}
	return names
}

// PEFT's names of an adapter's tensors.
func keyA(l *Linear) string { return "base_model.model." + l.Name + ".lora_A.weight" }
func keyB(l *Linear) string { return "base_model.model." + l.Name + ".lora_B.weight" }

// Parameters counts the trainable values, without padding.
func (a *Adapter) Parameters() (n int64) {
	for _, l := range a.linear {
		n += int64(a.Config.Rank) * int64(l.In+l.Out)
	}
	return n
}

// Init draws A from U(-1/sqrt(in), 1/sqrt(in)), which is PEFT's kaiming_uniform with a = sqrt 5, and leaves B zero.
// The numbers come from a PCG seeded with seed and each linear's place, the same on every platform. Errors are the
// device's.
func (a *Adapter) Init(seed uint64) error {
	for i, l := range a.linear {
		rng := rand.New(rand.NewPCG(seed, uint64(i)))
		bound := 1 / math.Sqrt(float64(l.In))
		values := make([]float32, a.Config.Rank*l.In)
		for j := range values {
			values[j] = float32((2*rng.Float64() - 1) * bound)
		}
		if err := a.set(keyA(l), values); err != nil {
			return err
		}
	}
	return nil
}

// String names the adapter for the log.
func (c Config) String() string {
	return fmt.Sprintf("LoRA r=%d alpha=%g scaling=%.4g dropout=%g on %s",
		c.Rank, c.Alpha, c.Scaling(), c.Dropout, strings.Join(c.Targets, ", "))
}
