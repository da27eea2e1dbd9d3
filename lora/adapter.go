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

// allLinear is the target that names every linear.
const allLinear = "all-linear"

// Config is an adapter's shape, in PEFT's terms.
type Config struct {
	Rank    int
	Alpha   float64
	RSLoRA  bool
	Dropout float64
	// Targets are names of modules, whole (model.layers.0.mlp.up_proj) or their ends (up_proj), or "all-linear" alone.
	Targets []string
	// RankPattern and AlphaPattern are the ranks and alphas of linears that have their own.
	RankPattern, AlphaPattern []Pattern

	// Within is what the names of modules begin with in the class of transformers that the adapter is for, where that is
	// not the language model's own: Wrapped for a new adapter.
	Within string

	loaded *loaded // nil: a new adapter
}

func (c Config) allLinear() bool { return len(c.Targets) == 1 && c.Targets[0] == allLinear }

// rank is the rank on a linear.
func (c Config) rank(linear string) int {
	return int(valueFor(c.RankPattern, c.named(linear), float64(c.Rank)))
}

// scaling is alpha/r on a linear, with rsLoRA alpha/sqrt(r).
func (c Config) scaling(linear string) float32 {
	rank := float64(c.rank(linear))
	if c.RSLoRA {
		rank = math.Sqrt(rank)
	}
	return float32(valueFor(c.AlphaPattern, c.named(linear), c.Alpha) / rank)
}

// adapts tells whether a linear gets an adapter.
func (c Config) adapts(linear string) bool {
	if c.loaded != nil {
		return c.loaded.adapted[linear]
	}
	return c.allLinear() || slices.ContainsFunc(c.Targets, func(target string) bool { return c.targets(target, linear) })
}

// targets tells whether a target names a linear, by either of its names.
func (c Config) targets(target, linear string) bool {
	return suffixOf(target, linear) || suffixOf(target, c.named(linear))
}

// Adapter is the trainable part of a model: its A and B matrices in flat state.
type Adapter struct {
	Config Config
	State  *optim.State
	// Warnings say what of a loaded adapter is not as its configuration has it.
	Warnings []string
	linear   []*Linear // those with an adapter, whose A and B are the state's entries in turn
}

// padded is the rank as stored.
func padded(rank int) int { return (rank + 3) / 4 * 4 }

// Attach makes an adapter of all zeros and connects it with its linears: of a new one those that the targets name, of a
// loaded one those whose matrices its file holds. Init or SetTensors fills it. The state's options say how and where
// the optimizer keeps its moments.
//
// Errors are *usererr.Error for a rank above a linear's smaller side or above what the device binds, for a target that
// the model has not, and for a file whose matrices belong to no linear of the model or are none that its configuration
// names; and the device's, a *gpu.OutOfMemory where the state does not fit.
func Attach(dev *gpu.Device, linears []*Linear, c Config, state optim.Options) (*Adapter, error) {
	a := &Adapter{Config: c}
	var entries []optim.Entry
	var err error
	if a.linear, err = c.adapted(linears); err != nil {
		return nil, err
	}
	for _, l := range a.linear {
		if err := checkBinding(dev, l, c); err != nil {
			return nil, err
		}
		entries = append(entries,
			optim.Entry{Name: keyA(l), Rows: padded(l.Rank), Cols: l.In},
			optim.Entry{Name: keyB(l), Rows: l.Out, Cols: padded(l.Rank)})
	}
	if c.loaded != nil {
		if a.Warnings, err = c.loaded.check(linears, c.named); err != nil {
			return nil, err
		}
		a.Config.Targets = targetsOf(linears)
	} else if err = c.checkTargets(linears); err != nil {
		return nil, err
	}
	if a.State, err = optim.NewState(dev, entries, state); err != nil {
		return nil, err
	}
	for _, l := range a.linear {
		l.A, l.B = a.State.View(a.State.Param, keyA(l)), a.State.View(a.State.Param, keyB(l))
		l.DA, l.DB = a.State.View(a.State.Grad, keyA(l)), a.State.View(a.State.Grad, keyB(l))
	}
	return a, nil
}

// adapted are the linears that get an adapter, each with its rank, which one that is wider than the linear cannot be,
// and its scaling; the others lose theirs.
func (c Config) adapted(linears []*Linear) (list []*Linear, err error) {
	for _, l := range linears {
		l.A, l.B, l.DA, l.DB, l.Rank = nil, nil, nil, nil, 0
		if !c.adapts(l.Name) {
			continue
		}
		l.Rank, l.Scaling = c.rank(l.Name), c.scaling(l.Name)
		if narrow := min(l.In, l.Out); l.Rank > narrow {
			op, path, name := c.source()
			return nil, usererr.New(op, path, "%s is %d, %s is %d×%d", name, l.Rank, l.Name, l.Out, l.In).
				Hinted("a rank of at most %d", narrow)
		}
		list = append(list, l)
	}
	return list, nil
}

// source is what errors about the rank name: operation, file and key.
func (c Config) source() (op, path, rank string) {
	if c.loaded != nil {
		return opLoad, c.loaded.path, "r"
	}
	return "attach adapter", "", "lora_r"
}

// checkBinding refuses a rank that the device cannot have.
func checkBinding(dev *gpu.Device, l *Linear, c Config) error {
	op, path, name := c.source()
	if size := gpu.F32.Size(padded(l.Rank) * max(l.In, l.Out)); size > dev.Limits.MaxBindingBytes {
		return usererr.New(op, path, "%s is %d, a matrix of %s would take %d MiB where the device binds %d",
			name, l.Rank, l.Name, size>>20, dev.Limits.MaxBindingBytes>>20).Hinted("choose a lower rank")
	}
	return nil
}

// checkTargets refuses a target that names no linear.
func (c Config) checkTargets(linears []*Linear) error {
	for _, t := range c.Targets {
		if !c.allLinear() && !slices.ContainsFunc(linears, func(l *Linear) bool { return c.targets(t, l.Name) }) {
			return usererr.New("attach adapter", "", "lora_target_modules has %q, the model has no such linear", t).
				Hinted("it has %s", strings.Join(modulesOf(linears), ", "))
		}
	}
	return nil
}

// Detach disconnects the adapter from its linears and frees it.
func (a *Adapter) Detach() {
	for _, l := range a.linear {
		l.A, l.B, l.DA, l.DB = nil, nil, nil, nil
	}
	a.State.Release()
}

// module is the last name of a linear.
func (l *Linear) module() string { return moduleOf(l.Name) }

func moduleOf(name string) string { return name[strings.LastIndexByte(name, '.')+1:] }

// modulesOf lists the modules of linears, each once.
func modulesOf(linears []*Linear) (names []string) {
	for _, l := range linears {
		if m := l.module(); !slices.Contains(names, m) {
			names = append(names, m)
		}
	}
	return names
}

// Parameters counts the trainable values, without padding.
func (a *Adapter) Parameters() (n int64) {
	for _, l := range a.linear {
		n += int64(l.Rank) * int64(l.In+l.Out)
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
		values := make([]float32, l.Rank*l.In)
		for j := range values {
			values[j] = float32((2*rng.Float64() - 1) * bound)
		}
		if err := a.set(2*i, values); err != nil {
			return err
		}
	}
	return nil
}

// MadeFor is the base model that a loaded adapter's configuration names, shortened; empty where there is none.
func (c Config) MadeFor() string {
	if c.loaded == nil {
		return ""
	}
	return fmt.Sprintf("%.100s", c.loaded.base)
}

// String names the adapter for the log.
func (c Config) String() string {
	const most = 7 // as many as a layer has
	targets, own := strings.Join(c.Targets[:min(len(c.Targets), most)], ", "), ""
	if more := len(c.Targets) - most; more > 0 {
		targets += fmt.Sprintf(" and %d more", more)
	}
	if len(c.RankPattern)+len(c.AlphaPattern) > 0 {
		own = ", others by rank_pattern and alpha_pattern,"
	}
	return fmt.Sprintf("LoRA r=%d alpha=%g scaling=%.4g%s dropout=%g on %s", c.Rank, c.Alpha, c.scaling(""), own, c.Dropout, targets)
}
