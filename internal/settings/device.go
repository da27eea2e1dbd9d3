package settings

import (
	"strconv"
	"strings"
)

// GPU is which device computes.
type GPU struct {
	Device string `json:"device" name:"device" help:"Adapter by index or by part of its name (see the devices command)." placeholder:"NAME"`
}

// Cache is where things lie that are not made twice.
type Cache struct {
	CacheDir string `json:"cache_dir" name:"cache-dir" help:"Folder of quantized models, of what was made of large data sets and of what was measured on the device; otherwise one under the user's cache folder." placeholder:"DIR"`
}

// Hardware is the device, and how its kernels are chosen.
type Hardware struct {
	GPU      `yaml:",inline"`
	Cache    `yaml:",inline"`
	Autotune string `json:"autotune" name:"autotune" default:"on" help:"Choose kernel variants by measuring: on (cached), off (by rule) or force (measure again)."`
}

// Check checks what can be checked without a device.
func (h Hardware) Check() error { return oneOf("autotune", h.Autotune, "on", "off", "force") }

// Optimizer is which optimizer there is.
type Optimizer struct {
	Optim string `json:"optim" name:"optim" default:"adamw_32bit" numeric:"" help:"Optimizer: adamw_32bit, or adamw_8bit, whose moments take a quarter of the memory; with paged_ before the name they lie on the host."`
}

// The optimizers, and what stands before the name of one whose moments lie on the host.
const (
	AdamW32bit = "adamw_32bit"
	AdamW8bit  = "adamw_8bit"
	Paged      = "paged_"
)

// Check checks the name.
func (o Optimizer) Check() error {
	return oneOf("optim", o.Optim, AdamW32bit, AdamW8bit, Paged+AdamW32bit, Paged+AdamW8bit)
}

// EightBit tells whether the optimizer keeps its moments in 8 bits.
func (o Optimizer) EightBit() bool { return strings.TrimPrefix(o.Optim, Paged) == AdamW8bit }

// PagedState tells whether the moments lie on the host.
func (o Optimizer) PagedState() bool { return strings.HasPrefix(o.Optim, Paged) }

// AdamW is an optimizer with its constants.
type AdamW struct {
	Optimizer   `yaml:",inline"`
	WeightDecay float64 `json:"weight_decay" name:"weight-decay" default:"0.01" numeric:"" help:"Decoupled weight decay."`
	AdamBeta1   float64 `json:"adam_beta1" name:"adam-beta1" default:"0.9" numeric:"" help:"Decay of AdamW's first moment."`
	AdamBeta2   float64 `json:"adam_beta2" name:"adam-beta2" default:"0.999" numeric:"" help:"Decay of AdamW's second moment."`
	AdamEpsilon float64 `json:"adam_epsilon" name:"adam-epsilon" default:"1e-08" numeric:"" help:"AdamW's epsilon."`
	MaxGradNorm float64 `json:"max_grad_norm" name:"max-grad-norm" default:"1" numeric:"" help:"Clip the global gradient norm to this; 0: never."`
}

// Check checks all of them.
func (a AdamW) Check() error {
	return first(a.Optimizer.Check(), Within("weight_decay", a.WeightDecay, 0, 10), Within("adam_beta1", a.AdamBeta1, 0, 0.9999999),
		Within("adam_beta2", a.AdamBeta2, 0, 0.9999999), Within("adam_epsilon", a.AdamEpsilon, 1e-30, 1),
		Within("max_grad_norm", a.MaxGradNorm, 0, 1e9))
}

// Budget is a bound on device memory.
type Budget struct {
	VRAMBudget string `json:"vram_budget" name:"vram-budget" help:"Device memory to take at most (6GiB); what does not fit is paged from the host and changes no result. Empty: all there is." placeholder:"SIZE"`
}

// Check checks the size.
func (b Budget) Check() error {
	_, err := b.Bytes()
	return err
}

// Bytes is the budget in bytes; 0: none was named.
func (b Budget) Bytes() (int64, error) {
	text := b.VRAMBudget
	if text == "" {
		return 0, nil
	}
	units := map[string]float64{
		"k": 1 << 10, "kib": 1 << 10, "kb": 1e3, "m": 1 << 20, "mib": 1 << 20, "mb": 1e6,
		"g": 1 << 30, "gib": 1 << 30, "gb": 1e9, "t": 1 << 40, "tib": 1 << 40, "tb": 1e12, "b": 1,
	}
	trimmed := strings.TrimSpace(text)
	end := strings.LastIndexAny(trimmed, "0123456789.") + 1
	number, err := strconv.ParseFloat(trimmed[:end], 64)
	unit, known := units[strings.ToLower(strings.TrimSpace(trimmed[end:]))]
	if err != nil || !known || !(number*unit >= 1) || number*unit > 1<<50 {
		return 0, Wrong("vram_budget", strconv.Quote(text), "a size above 0 with its unit, such as 6GiB or 800MiB")
	}
	return int64(number * unit), nil
}

// Memory is a budget, and what training keeps for its backward pass.
type Memory struct {
	Budget                `yaml:",inline"`
	GradientCheckpointing string `json:"gradient_checkpointing" name:"gradient-checkpointing" default:"auto" type:"checkpointing" negatable:"" numeric:"" help:"Recompute activations in the backward pass, which saves memory and, with activations in f32, changes no result: full (whole layers), selective (norms, gate and up), off, or auto, the least that fits the memory budget, full where there is none. Alone it is full, with no- before the name off."`
	ActivationDType       string `json:"activation_dtype" name:"activation-dtype" default:"f32" numeric:"" help:"How what is kept for the backward pass is stored: f32, or bf16, which takes half the memory and rounds gradients a little."`
}

// The values of gradient_checkpointing: how much of a layer is computed again in its backward. None changes a bit of
// the result, as long as what is kept is not rounded.
const (
	CheckpointAuto      = "auto"      // the least that fits the budget
	CheckpointFull      = "full"      // the whole layer, from its input
	CheckpointSelective = "selective" // norms, gate and up, and what is cheap
	CheckpointOff       = "off"       // nothing
)

// The values of activation_dtype: how what is kept of a layer for its backward is stored.
const (
	ActivationsF32  = "f32"
	ActivationsBF16 = "bf16" // half the memory; gradients carry the rounding, losses of the forward pass do not
)

// Check checks all of them.
func (m Memory) Check() error {
	return first(oneOf("gradient_checkpointing", m.GradientCheckpointing, CheckpointAuto, CheckpointFull, CheckpointSelective, CheckpointOff),
		oneOf("activation_dtype", m.ActivationDType, ActivationsF32, ActivationsBF16), m.Budget.Check())
}
