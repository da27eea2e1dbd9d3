package gpu

// Limits are what the engine lets a single binding, dispatch and submission grow to. They start from WebGPU's portable
// defaults; lower values are legal and give the same bytes (only the cutting changes), but for variants that cut sums
// into parts where those can be bound.
type Limits struct {
	// MaxBindingBytes bounds one storage binding, so the size of a shard, in bytes.
	MaxBindingBytes int64
	// MaxWorkgroupsPerDimension bounds each dimension of a dispatch.
	MaxWorkgroupsPerDimension int
	// MaxDispatchCost and MaxSubmitCost bound the estimated FLOPs between two points where the driver may switch to other
	// work: systems kill a job after 2 s, and a desktop should not stutter.
	MaxDispatchCost, MaxSubmitCost int64
	// MaxDispatchesPerSubmit bounds the length of one command buffer, in dispatches.
	MaxDispatchesPerSubmit int
}

const (
	// ShardBytes is the largest shard: below the 128 MiB that every WebGPU device can bind.
	ShardBytes = 120 << 20

	bindingBytes = 128 << 20

	// MinRingBytes and MaxRingBytes bound the rings of uploads, Params and read-backs. Without SetRings they are largest.
	MinRingBytes = 32 << 10
	MaxRingBytes = 1 << 20

	alignment   = 256 // of binding offsets, storage and uniform, on every device
	paramsBytes = 256 // one Params block
)

// How long a dispatch and a submission may take, in seconds.
const (
	dispatchSeconds = 0.050
	submitSeconds   = 0.400
)

// DefaultLimits are the portable limits with costs for a device that sustains flopsPerSecond: dispatchSeconds a
// dispatch, submitSeconds a submission.
func DefaultLimits(flopsPerSecond float64) Limits {
	return Limits{
		MaxBindingBytes:           ShardBytes,
		MaxWorkgroupsPerDimension: 65535,
		MaxDispatchCost:           int64(flopsPerSecond * dispatchSeconds),
		MaxSubmitCost:             int64(flopsPerSecond * submitSeconds),
		MaxDispatchesPerSubmit:    2000,
	}
}

// MaxTensorBytes bounds a tensor that is not cut, in bytes: all that every WebGPU device binds, unless shards are
// restricted.
func (l Limits) MaxTensorBytes() int64 {
	if l.MaxBindingBytes == ShardBytes {
		return bindingBytes
	}
	return l.MaxBindingBytes
}

// restrict lowers l by the fields of o that are set.
func (l Limits) restrict(o Limits) Limits {
	lower := func(a *int64, b int64) {
		if b > 0 && b < *a {
			*a = b
		}
	}
	lowerInt := func(a *int, b int) {
		if b > 0 && b < *a {
			*a = b
		}
	}
	lower(&l.MaxBindingBytes, o.MaxBindingBytes)
	lower(&l.MaxDispatchCost, o.MaxDispatchCost)
	lower(&l.MaxSubmitCost, o.MaxSubmitCost)
	lowerInt(&l.MaxWorkgroupsPerDimension, o.MaxWorkgroupsPerDimension)
	lowerInt(&l.MaxDispatchesPerSubmit, o.MaxDispatchesPerSubmit)
	return l
}
