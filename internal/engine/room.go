package engine

import (
	"fmt"
	"strconv"

	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/settings"
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

// Cut is a setting whose value can be halved, down to Least, and what that makes of a demand.
type Cut struct {
	Setting     string
	From, Least int
	With        func(d *Demand, to int)
}

// Shortage looks for a plan's shortage and for the ways out of it; nil: the run fits.
func (room Room) Shortage(dev *gpu.Device, d Demand, p *paging.Plan, cuts []Cut) (*Shortage, error) {
	short := room.compare(p)
	if short == nil {
		return nil, nil
	}
	if more := d; !d.Auto && d.Start.Activations != paging.Recompute {
		more.Start.Activations = paging.Recompute
		if fits, err := room.holds(dev, more); err != nil {
			return nil, err
		} else if fits {
			short.Ways = append(short.Ways, Way{"gradient_checkpointing", CheckpointingOf(d.Start.Activations), settings.CheckpointFull})
		}
	}
	for _, cut := range cuts {
		for to := cut.From / 2; to >= cut.Least; to /= 2 {
			less := d
			cut.With(&less, to)
			less.EvalTokens = min(less.EvalTokens, less.Tokens)
			fits, err := room.holds(dev, less)
			if err != nil {
				return nil, err
			}
			if fits {
				short.Ways = append(short.Ways, Way{cut.Setting, strconv.Itoa(cut.From), strconv.Itoa(to)})
				break
			}
		}
	}
	return short, nil
}

func (room Room) compare(p *paging.Plan) *Shortage {
	switch {
	case room.Total > 0 && p.Peak+p.Host > room.Total:
		return &Shortage{Needs: p.Peak + p.Host, Has: room.Total}
	case room.Host > 0 && p.Host > room.Host:
		return &Shortage{Needs: p.Host, Has: room.Host}
	}
	return nil
}

// holds tells whether the room is enough for a run without a budget.
func (room Room) holds(dev *gpu.Device, d Demand) (bool, error) {
	const margin = 64 << 10 // of the estimate
	needs, err := d.Estimate(dev, func(p *paging.Plan) int64 { return p.Peak + p.Host })
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
