package paging

import (
	"fmt"
	"slices"
	"strings"

	"qlora-wgpu/gpu"
)

// Plan says where everything lies in a run, to the byte: all sizes are bytes of the device, but for Host and Traffic.
type Plan struct {
	Peak     int64 `json:"peak_device_bytes"`
	Budget   int64 `json:"budget_bytes"` // 0: none
	Minimum  int64 `json:"minimum_budget_bytes"`
	Resident int64 `json:"resident_bytes"`       // the peak with everything on the device
	Host     int64 `json:"host_bytes"`           // of the host's memory
	Traffic  int64 `json:"bytes_moved_per_step"` // both ways, by all micro-batches of a step
	Rows     []Row `json:"rows"`

	Decisions         `json:"-"`
	StreamedLayers    []bool `json:"-"`
	StatePageElements int    `json:"-"` // of a page of paged optimizer state
	Slots             int    `json:"-"` // of SlotBytes, for weights
	SlotBytes         int64  `json:"-"`
	Mapped            bool   `json:"-"` // the host maps the slots of weights
	MappedState       bool   `json:"-"` // and those of optimizer state, which then do not lie in the arena
	TablePageBytes    int64  `json:"-"` // the head is cut into pages of at most so much; 0: as the device binds
	Staging           int    `json:"-"` // buffers of StagingBytes towards the device
	StagingOut        int    `json:"-"` // and back
	StagingBytes      int64  `json:"-"`
	RingBytes         int64  `json:"-"`
}

// Decisions is what does not stay on the device.
type Decisions struct {
	Layers        int // that are streamed
	StreamedHead  int // the last so many pages of the head
	HostEmbedding bool
	PagedState    bool
	Activations   Activations
	Kept          gpu.DType // F32 or BF16: what is kept of activations is stored as; the user's choice
}

// TooSmall says that no plan fits.
type TooSmall struct{ Budget, Minimum int64 }

func (e *TooSmall) Error() string {
	return fmt.Sprintf("a budget of %s of device memory; the least is %s (%d bytes)", Size(e.Budget), Size(e.Minimum), e.Minimum)
}

const (
	stagingBuffers = 2
	// StateSlots is how many pages of optimizer state lie on the device at once: one is computed on while the next is
	// copied in.
	StateSlots = 2
	// minStatePage lets one value for 256 elements (as blocks of 8-bit state have it) still begin on a binding
	// boundary.
	minStatePage, maxStatePage = 16384, 4 << 20
)

// sizes is what paging itself may take.
type sizes struct {
	slots         int
	staging, ring int64
}

// The sizes that are tried: larger staging buffers hide more of the filling, beyond the first nothing.
var (
	generous = sizes{slots: 2, staging: 64 << 20, ring: gpu.MaxRingBytes}
	modest   = sizes{slots: 2, staging: 8 << 20, ring: gpu.MaxRingBytes}
	tight    = sizes{slots: 1, staging: 64 << 10, ring: gpu.MinRingBytes}
)

// NewPlan plans for a budget in bytes; 0: none. start is what the user asked for; what else has to leave the device
// does so in the order of what its absence costs for each byte that it frees. An error is a *TooSmall. The bytes are
// exact: the allocator counts the same.
func NewPlan(r *Recording, budget int64, start Decisions) (*Plan, error) {
	steps := r.steps(start)
	resident, least := r.plan(generous, start, nil), r.plan(tight, start, steps)
	fits := resident
	if budget > 0 && resident.Peak > budget {
		fits = nil
		for _, s := range []sizes{generous, modest, tight} {
			// Smaller sizes wait more; they have to spare a quarter of the traffic.
			if p := r.fit(s, budget, start, steps); p != nil && (fits == nil || p.Traffic < fits.Traffic/4*3) {
				fits = p
			}
		}
		if fits == nil {
			return nil, &TooSmall{budget, least.Peak}
		}
	}
	fits.Resident, fits.Minimum, fits.Budget = resident.Peak, least.Peak, budget
	return fits, nil
}

// fit takes steps until the plan fits, and then takes back those that were not needed, the dearest first; nil: it
// does not fit.
func (r *Recording) fit(s sizes, budget int64, start Decisions, steps []step) *Plan {
	for n := range steps {
		taken := slices.Clone(steps[:n+1])
		p := r.plan(s, start, taken)
		if p.Peak > budget {
			continue
		}
		for i := len(taken) - 2; i >= 0; i-- {
			fewer := slices.Delete(slices.Clone(taken), i, i+1)
			if q := r.plan(s, start, fewer); q.Peak <= budget {
				p, taken = q, fewer
			}
		}
		// The ring itself takes room: perhaps all weights fit without it.
		whole := slices.DeleteFunc(slices.Clone(taken), func(s step) bool { return s.weights })
		if q := r.plan(s, start, whole); q.Peak <= budget && q.Traffic <= p.Traffic {
			p = q
		}
		return p
	}
	return nil
}

// streamed tells whether the plan streams page i of the recording.
func (p *Plan) streamed(r *Recording, i int) bool {
	if layer := r.Pages[i].Layer; layer >= 0 {
		return p.StreamedLayers[layer]
	}
	return i >= len(r.Pages)-p.StreamedHead
}

// plan is the table that follows from decisions.
func (r *Recording) plan(s sizes, start Decisions, steps []step) *Plan {
	p := &Plan{Decisions: start, RingBytes: s.ring, TablePageBytes: r.TablePageBytes, StreamedLayers: make([]bool, r.layers())}
	for _, step := range steps {
		step.take(&p.Decisions)
	}
	for i := range p.StreamedLayers { // evenly: while a resident layer computes, the next streamed one is filled
		p.StreamedLayers[i] = (i+1)*p.Layers/len(p.StreamedLayers) > i*p.Layers/len(p.StreamedLayers)
	}
	r.placeWeights(p, s)
	r.placeState(p, s)
	r.placeStaging(p, s)
	p.Rows = append(p.Rows, r.Fixed...)
	for _, row := range p.Rows {
		p.Peak += row.Device
		p.Host += row.Host
		p.Traffic += row.Traffic
	}
	return p
}

// row adds a line of the table, unless there is nothing of it.
func (p *Plan) row(name, where string, device, host, traffic int64) {
	if device > 0 || host > 0 || traffic > 0 {
		p.Rows = append(p.Rows, Row{name, where, device, host, traffic})
	}
}

// Size writes bytes for people, in KiB, MiB or GiB (1024, 1024² and 1024³ bytes).
func Size(n int64) string {
	switch {
	case n >= 1<<30:
		return fmt.Sprintf("%.2f GiB", float64(n)/(1<<30))
	case n >= 1<<20:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	}
	return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
}

// String is the plan as lines for people.
func (p *Plan) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "Memory: %s on the device", Size(p.Peak))
	if p.Budget > 0 {
		fmt.Fprintf(&b, " of a budget of %s", Size(p.Budget))
	}
	fmt.Fprintf(&b, " (everything resident: %s, the least: %s)", Size(p.Resident), Size(p.Minimum))
	if p.Host > 0 || p.Traffic > 0 {
		fmt.Fprintf(&b, "; %s on the host, %s moved a step", Size(p.Host), Size(p.Traffic))
	}
	b.WriteString("\n")
	for _, r := range p.Rows {
		device := ""
		if r.Device > 0 {
			device = Size(r.Device)
		}
		fmt.Fprintf(&b, "  %-28s %-38s %10s", r.Name, r.Where, device)
		if r.Host > 0 {
			fmt.Fprintf(&b, "  host %s", Size(r.Host))
		}
		if r.Traffic > 0 {
			fmt.Fprintf(&b, "  moves %s", Size(r.Traffic))
		}
		b.WriteString("\n")
	}
	return strings.TrimSuffix(b.String(), "\n")
}
