package paging

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
)

const mib = 1 << 20

// recordingOf is a model of four layers of 10 MiB and a head of four pages of 10 MiB, of which every page is used
// once forwards and once backwards.
func recordingOf(tied bool) *Recording {
	r := &Recording{
		SlotBytes: 10 * mib, TablePageBytes: 10 * mib, Together: 1, Tied: tied, MicroBatches: 2, Gather: mib,
		Adapter: 8 * mib, Moments: 8 * mib, StateTensors: []int64{1024, 1024},
		TensorLimit: 128 * mib, Fixed: []Row{{Name: "tables", Device: mib}},
		Arenas: []ArenaShape{
			{Activations: Recompute, Buffers: []int64{9 * mib}}, {Activations: Offload, Buffers: []int64{5 * mib}, Host: 4 * mib, Moved: 8 * mib},
		},
	}
	if !tied {
		r.Embedding = 40 * mib
	}
	var accesses []Access
	use := func(pages ...int) {
		for _, page := range pages {
			accesses = append(accesses, Access{page, len(accesses)})
		}
	}
	for i := range 8 {
		layer := i
		if i >= 4 {
			layer = Head
		}
		r.Pages = append(r.Pages, PageShape{Layer: layer, Bytes: 10 * mib})
	}
	use(0, 1, 2, 3, 4, 5, 6, 7, 4, 5, 6, 7, 3, 2, 1, 0)
	r.Schedule = NewSchedule(accesses)
	return r
}

func TestPlan(t *testing.T) {
	// Layers 40, head 40, embedding 40, adapter 8, state 8, arena 9, rings 3, tables 1.
	const resident = 149 * mib
	for _, c := range []struct {
		name     string
		tied     bool
		budget   int64
		start    Decisions
		peak     int64
		streamed []bool
		check    func(p *Plan) bool
	}{
		{
			name: "no budget", peak: resident, streamed: make([]bool, 4),
			check: func(p *Plan) bool { return p.Slots == 0 && p.Staging == 0 && p.Host == 0 && p.Traffic == 0 },
		},
		{name: "a large budget", budget: resident, peak: resident, streamed: make([]bool, 4)},
		// The embedding goes first: it frees 40 MiB for 2 MiB of rows.
		{name: "a byte less", budget: resident - 1, peak: resident - 40*mib, streamed: make([]bool, 4), check: func(p *Plan) bool {
			return p.HostEmbedding && !p.PagedState && p.Traffic == 2*mib && p.Host == 40*mib
		}},
		// Then the state, in slots within the arena: 8 MiB less, 4 staging buffers of 2 MiB more, so the plan goes on
		// to smaller staging buffers and rings.
		{
			name: "paged state", budget: 104 * mib, peak: 109*mib - 8*mib + 4*64<<10 - 3*mib + 3*32<<10, streamed: make([]bool, 4),
			check: func(p *Plan) bool { return p.PagedState && p.Slots == 0 },
		},
		{
			name: "the user's paged state", start: Decisions{PagedState: true}, peak: resident - 8*mib + 4*(9*mib/2), streamed: make([]bool, 4),
			check: func(p *Plan) bool { return p.PagedState },
		},
		{
			name: "two layers", budget: 90 * mib, start: Decisions{HostEmbedding: true, PagedState: true},
			streamed: []bool{false, true, false, true}, peak: -1,
		},
		{
			name: "tied", tied: true, budget: 60 * mib, peak: -1, streamed: nil,
			check: func(p *Plan) bool { return p.StreamedHead == 0 || p.StreamedHead == 4 && p.HostEmbedding },
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, err := NewPlan(recordingOf(c.tied), c.budget, c.start)
			require.NoError(t, err)
			var sum int64
			for _, row := range p.Rows {
				sum += row.Device
			}
			require.Equal(t, sum, p.Peak)
			if c.budget > 0 {
				require.LessOrEqual(t, p.Peak, c.budget)
			}
			if c.peak >= 0 {
				require.Equal(t, c.peak, p.Peak, "%+v", p.Rows)
			}
			if c.streamed != nil {
				require.Equal(t, c.streamed, p.StreamedLayers)
			}
			require.True(t, c.check == nil || c.check(p), "%+v", p)
		})
	}
}

// Where the host maps slots, nothing is staged but layers' inputs, and slots of optimizer state are buffers of their
// own.
func TestMappedSlots(t *testing.T) {
	plan := func(mappable bool, budget int64, start Decisions) *Plan {
		r := recordingOf(false)
		r.Mappable = mappable
		p, err := NewPlan(r, budget, start)
		require.NoError(t, err)
		return p
	}
	weights := Decisions{Layers: 2, StreamedHead: 1}
	staged, mapped := plan(false, 0, weights), plan(true, 0, weights)
	require.True(t, mapped.Mapped && !staged.Mapped && !mapped.MappedState)
	require.Equal(t, []int{2, 0, 0}, []int{mapped.Slots, mapped.Staging, mapped.StagingOut})
	require.Equal(t, staged.Peak-2*10*mib, mapped.Peak)
	require.Equal(t, []int64{staged.Traffic, staged.Host}, []int64{mapped.Traffic, mapped.Host})

	state := Decisions{PagedState: true}
	staged, mapped = plan(false, 0, state), plan(true, 0, state)
	require.True(t, mapped.MappedState && !mapped.Mapped)
	require.Equal(t, 262144, mapped.StatePageElements, "8 MiB in four pages")
	require.Zero(t, mapped.Staging+mapped.StagingOut)
	require.Equal(t, staged.Peak-4*(9*mib/2)+4*mib, mapped.Peak)

	for _, activations := range []Activations{Recompute, Offload} {
		all := Decisions{Layers: 4, StreamedHead: 4, PagedState: true, Activations: activations}
		p := plan(true, 0, all)
		require.True(t, p.Mapped)
		require.Equal(t, activations == Recompute, p.MappedState)
		require.Equal(t, activations == Offload, p.Staging == stagingBuffers && p.StagingOut == stagingBuffers && p.StagingBytes > 0)
	}
	require.LessOrEqual(t, plan(true, 0, Decisions{}).Minimum, plan(false, 0, Decisions{}).Minimum)
}

func TestMinimum(t *testing.T) {
	r := recordingOf(false)
	p, err := NewPlan(r, 0, Decisions{})
	require.NoError(t, err)
	least, err := NewPlan(r, p.Minimum, Decisions{})
	require.NoError(t, err)
	require.Equal(t, p.Minimum, least.Peak)
	require.Equal(t, []bool{true, true, true, true}, least.StreamedLayers)
	require.Equal(t, 4, least.StreamedHead)
	require.Equal(t, Offload, least.Activations)
	_, err = NewPlan(r, p.Minimum-1, Decisions{})
	var small *TooSmall
	require.True(t, errors.As(err, &small))
	require.Equal(t, p.Minimum, small.Minimum)
}

// The further the next use, the sooner a page leaves: misses of a known order, counted by hand.
func TestMisses(t *testing.T) {
	order := func(pages ...int) *Schedule {
		var accesses []Access
		for i, page := range pages {
			accesses = append(accesses, Access{page, i})
		}
		return NewSchedule(accesses)
	}
	sum := func(s *Schedule, slots int) (n int) {
		for _, misses := range s.Misses(slots) {
			n += misses
		}
		return n
	}
	zigzag := order(0, 1, 2, 3, 3, 2, 1, 0)
	require.Equal(t, 6, sum(zigzag, 1)) // the turns hit
	require.Equal(t, 4, sum(zigzag, 2))
	require.Equal(t, 2, sum(zigzag, 3))
	require.Equal(t, 0, sum(zigzag, 4))
	require.Equal(t, 6, sum(order(0, 1, 2, 3, 0, 1, 2, 3), 2)) // least-recently-used would miss all 8
}

// Pages that one kernel needs stay together, however far their next use.
func TestGroupsStayTogether(t *testing.T) {
	s := NewSchedule([]Access{{0, 1}, {1, 1}, {2, 2}, {0, 3}, {2, 3}})
	require.Equal(t, 2, s.Together())
	r := newRing(2)
	for at := range s.accesses {
		r.take(s, at)
		if at == 1 {
			require.ElementsMatch(t, []int{0, 1}, r)
		}
		if at == 4 {
			require.ElementsMatch(t, []int{0, 2}, r)
		}
	}
	require.Panics(t, func() {
		newRing(1).take(NewSchedule([]Access{{0, 1}, {1, 1}}), 0)
		r := ring{0}
		r.take(NewSchedule([]Access{{0, 1}, {1, 1}}), 1)
	})
}
