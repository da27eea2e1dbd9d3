package engine

import (
	"qlora-wgpu/internal/events"
	"qlora-wgpu/internal/model"
)

// follow tells Stepping how far the device is with a step over the window, until end, which is given what the whole
// step was recorded with. How much that is nobody knows before: it is what the planned program counted, by tokens, and
// by how far the step before was off.
func (e *Engine) follow(window []model.Input) (end func(cost int64), stop func()) {
	if e.Stepping == nil {
		return func(int64) {}, func() {}
	}
	tokens := 0
	for _, in := range window {
		tokens += len(in.IDs)
	}
	planned := float64(e.planned) * float64(tokens) / float64(max(e.sizes[programTrain].Tokens, 1))
	if e.off == 0 {
		e.off = 1
	}
	meter := events.NewMeter(max(1, int64(planned*e.off)), e.Stepping)
	stop = e.Device.Watch(meter.Add)
	return func(cost int64) {
		stop()
		meter.End()
		e.off = float64(cost) / max(planned, 1)
	}, stop
}
