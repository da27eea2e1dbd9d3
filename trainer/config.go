package trainer

import (
	"qlora-wgpu/internal/settings"
)

// Config is every setting of a training run. Its groups are embedded: a setting is a field of Config itself.
type Config = settings.Train

// Defaults is a run as most people want it; Model and Data are for the caller to set.
func Defaults() Config { return settings.Default[Config]() }

// The values of lr_scheduler_type.
const (
	Constant           = settings.Constant
	ConstantWithWarmup = settings.ConstantWithWarmup
	Linear             = settings.Linear
	Cosine             = settings.Cosine
)

// The values of gradient_checkpointing and activation_dtype.
const (
	CheckpointAuto      = settings.CheckpointAuto
	CheckpointFull      = settings.CheckpointFull
	CheckpointSelective = settings.CheckpointSelective
	CheckpointOff       = settings.CheckpointOff
	ActivationsF32      = settings.ActivationsF32
	ActivationsBF16     = settings.ActivationsBF16
)
