package trainer

import (
	"fmt"
	"math"
	"slices"
	"strconv"

	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/dataset"
	"qlora-wgpu/internal/usererr"
	"qlora-wgpu/paging"
)

// Room is the memory that a run may take, in bytes, as far as that is known before anything is loaded; 0: unknown.
type Room struct {
	Total int64 `json:"total"` // of device and host together
	Host  int64 `json:"host"`
}

// Shortage says that a run does not fit the room.
type Shortage struct {
	Needs int64 `json:"needs_bytes"`
	Has   int64 `json:"has_bytes"`
	Ways  []Way `json:"ways"` // each alone is enough
}

// Way is the smallest cut of one setting, by halves, with which a run fits, or more recompute.
type Way struct {
	Setting string `json:"setting"`
	From    string `json:"from"`
	To      string `json:"to"`
}

// shortage compares a plan with the room; nil: it fits.
func (room Room) shortage(p *paging.Plan) *Shortage {
	switch {
	case room.Total > 0 && p.Peak+p.Host > room.Total:
		return &Shortage{Needs: p.Peak + p.Host, Has: room.Total}
	case room.Host > 0 && p.Host > room.Host:
		return &Shortage{Needs: p.Host, Has: room.Host}
	}
	return nil
}

// checkRoom looks for a shortage and for the ways out of it, before anything is loaded; nil: the run fits.
func (r *run) checkRoom(dev *gpu.Device, in Inputs, p *paging.Plan) (*Shortage, error) {
	short := in.Room.shortage(p)
	if short == nil {
		return nil, nil
	}
	c, longest := r.config, longest(r.samples)
	if c.Packing {
		longest = r.maxSeqLength
	}
	if d := r.demand(in); !d.auto && d.start.Activations != paging.Recompute {
		d.start.Activations = paging.Recompute
		if fits, err := in.Room.holds(dev, d); err != nil {
			return nil, err
		} else if fits {
			short.Ways = append(short.Ways, Way{"gradient_checkpointing", c.GradientCheckpointing, CheckpointFull})
		}
	}
	for _, setting := range []struct {
		name        string
		from, least int
		with        func(d *demand, to int)
	}{
		{"batch_size", c.BatchSize, 1, func(d *demand, to int) { d.tokens = min(d.tokens, to*longest) }},
		{"lora_r", c.LoraR, 1, func(d *demand, to int) { d.adapter.Rank = to }},
		{"max_seq_length", longest, max(8, firstTarget(r.samples)+1), func(d *demand, to int) { d.tokens = min(d.tokens, to*c.BatchSize) }},
	} {
		for to := setting.from / 2; to >= setting.least; to /= 2 {
			d := r.demand(in)
			setting.with(&d, to)
			d.evalTokens = min(d.evalTokens, d.tokens)
			fits, err := in.Room.holds(dev, d)
			if err != nil {
				return nil, err
			}
			if fits {
				short.Ways = append(short.Ways, Way{setting.name, strconv.Itoa(setting.from), strconv.Itoa(to)})
				break
			}
		}
	}
	return short, nil
}

// firstTarget is where the earliest target of all samples stands: shorter sequences would leave nothing to learn.
func firstTarget(samples []dataset.Sample) int {
	first := math.MaxInt32
	for _, s := range samples {
		if i := slices.IndexFunc(s.Labels, func(l int32) bool { return l >= 0 }); i >= 0 {
			first = min(first, i)
		}
	}
	return first
}

// holds tells whether the room is enough for a run without a budget.
func (room Room) holds(dev *gpu.Device, d demand) (bool, error) {
	const margin = 64 << 10 // of the estimate
	needs, err := d.estimate(dev, func(p *paging.Plan) int64 { return p.Peak + p.Host })
	return err == nil && needs+margin <= room.Total, err
}

// error refuses the run.
func (s *Shortage) error() error {
	hint := "free memory, or choose a smaller model"
	for _, w := range s.Ways {
		hint += fmt.Sprintf(", or change %s from %s to %s", w.Setting, w.From, w.To)
	}
	return usererr.New("plan memory", "", "the run takes %s, there are %s", paging.Size(s.Needs), paging.Size(s.Has)).Hinted("%s", hint)
}
