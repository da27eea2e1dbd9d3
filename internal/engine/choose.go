package engine

import (
	"context"

	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/events"
)

// OpenDevice opens the device that the options mean, as Open does, for whoever measures it rather than a model on it:
// emit gets what a user has to know. The caller releases it.
func OpenDevice(ctx context.Context, o Options, emit func(events.Event)) (*gpu.Device, error) {
	o.Autotune = "off" // who uses the device recalls its variants, or not
	s := &Session{options: o, emit: func(e events.Event) {
		if _, info := e.(events.Info); !info {
			emit(e)
		}
	}}
	err := s.choose(ctx)
	return s.Device, err
}

// choose opens the device. Where several adapters are meant, because a card is offered by more than one back end or the
// user named none, one whose kernels compute wrongly is passed over.
func (s *Session) choose(ctx context.Context) error {
	o := s.options
	dev, err := gpu.Open(ctx, gpu.Options{Adapter: o.Device, SubmitScale: o.SubmitScale, Choice: gpu.Choice{
		Fits: func(dev *gpu.Device) error {
			s.meet(dev)
			return s.check(ctx)
		},
		PassedOver: func(info gpu.AdapterInfo, reason error, next gpu.AdapterInfo) {
			s.warn("%s is passed over, %s is tried instead: %v", info, next, reason)
		},
	}})
	if err != nil {
		s.Device = nil
		return err
	}
	if s.Device != dev {
		s.meet(dev)
	}
	return nil
}

// meet makes a device the session's and recalls what was measured on it.
func (s *Session) meet(dev *gpu.Device) {
	s.Device = dev
	s.info("Device: %s", dev.Info)
	s.recall()
}
