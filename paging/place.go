package paging

import (
	"cmp"
	"fmt"
	"slices"

	"qlora-wgpu/gpu"
)

// onDevice is what a page takes there: kernels may bind parts of it as uniform arrays.
func onDevice(bytes int64) int64 {
	if bytes == 0 {
		return 0
	}
	return max(align(bytes), gpu.UniformBytes)
}

// placeWeights counts what stays of layers and head, and the ring for the rest.
func (r *Recording) placeWeights(p *Plan, s sizes) {
	micro := int64(max(1, r.MicroBatches))
	const layers, head = 0, 1
	var kept, away, moved [2]int64
	kind := func(page int) int {
		if r.Pages[page].Layer < 0 {
			return head
		}
		return layers
	}
	for i, page := range r.Pages {
		if p.streamed(r, i) {
			away[kind(i)] += page.Bytes
		} else {
			kept[kind(i)] += onDevice(page.Bytes)
		}
	}
	if away[layers]+away[head] > 0 {
		p.Slots, p.SlotBytes = max(s.slots, r.Together), r.SlotBytes
		streamed := r.Schedule.keep(func(page int) bool { return page >= 0 && p.streamed(r, page) })
		for page, n := range streamed.Misses(p.Slots) {
			moved[kind(page)] += micro * int64(n) * r.Pages[page].Bytes
		}
	}
	n := len(p.StreamedLayers)
	p.row("layers", fmt.Sprintf("%d of %d resident", n-p.Layers, n), kept[layers], 0, 0)
	p.row("layers", fmt.Sprintf("%d of %d streamed", p.Layers, n), 0, away[layers], moved[layers])
	name := "head"
	if r.Tied {
		name = "embedding and head"
	}
	p.row(name, "resident", kept[head], 0, 0)
	p.row(name, fmt.Sprintf("%d pages streamed", p.StreamedHead), 0, away[head], moved[head])
	if p.HostEmbedding {
		p.row("embedding", "rows gathered by the host", 0, r.Embedding, micro*r.Gather)
	} else {
		p.row("embedding", "resident", r.Embedding, 0, 0)
	}
	where := fmt.Sprintf("%d slots", p.Slots)
	if p.Mapped = r.Mappable && p.Slots > 0; p.Mapped {
		where += ", mapped by the host"
	}
	p.row("ring of weights", where, int64(p.Slots)*onDevice(p.SlotBytes), 0, 0)
}

// placeState lets the slots of paged optimizer state lie in the arena's first buffer, which nothing else uses during
// the update. Where the host can map slots, they are buffers of their own instead of staging; where layers' inputs
// need staging in any case, both kinds share it.
func (r *Recording) placeState(p *Plan, s sizes) {
	arena := r.arena(p.Activations)
	buffers := slices.Clone(arena.Buffers)
	p.row("adapter and gradients", "resident", r.Adapter, 0, 0)
	if p.PagedState {
		p.MappedState = r.Mappable && p.Activations != Offload
		room, where, slots := int64(0), "paged, slots in the arena", int64(0)
		if p.MappedState {
			room, where = min(StateSlots*s.staging, r.Moments/2), fmt.Sprintf("paged, %d slots, mapped by the host", StateSlots)
		} else if len(buffers) > 0 {
			room = buffers[0]
		}
		elements := room / StateSlots / max(total(r.StateTensors), 1) * 256
		p.StatePageElements = int(min(max(elements/minStatePage*minStatePage, minStatePage), maxStatePage))
		if !p.MappedState {
			buffers = r.withStateSlots(buffers, p)
		} else {
			for _, block := range r.StateTensors {
				slots += StateSlots * onDevice(int64(p.StatePageElements/256)*block)
			}
		}
		p.row("optimizer state", where, slots, r.Moments, 2*r.Moments)
	} else {
		p.row("optimizer state", "resident", r.Moments, 0, 0)
	}
	in := ""
	if p.Rounded() {
		in = " in bf16"
	}
	p.row("arena", p.Activations.String()+in, total(buffers), arena.Host, int64(max(1, r.MicroBatches))*arena.Moved)
}

// statePage is the bytes of a page of optimizer state.
func (r *Recording) statePage(p *Plan) int64 {
	return int64(p.StatePageElements/256) * total(r.StateTensors)
}

// withStateSlots is the arena's buffers with room for the slots, placed as the arena does.
func (r *Recording) withStateSlots(buffers []int64, p *Plan) []int64 {
	var slots, used []int64
	for range StateSlots {
		for _, block := range r.StateTensors {
			slots = append(slots, align(int64(p.StatePageElements/256)*block))
		}
	}
	slices.SortStableFunc(slots, func(a, b int64) int { return cmp.Compare(b, a) })
	for _, size := range slots {
		i := slices.IndexFunc(used, func(n int64) bool { return n+size <= r.TensorLimit })
		if i < 0 {
			i = len(used)
			used = append(used, 0)
		}
		used[i] += size
	}
	for i, n := range used {
		if i == len(buffers) {
			buffers = append(buffers, 0)
		}
		buffers[i] = max(buffers[i], n)
	}
	return buffers
}

func (r *Recording) placeStaging(p *Plan, s sizes) {
	largest := int64(0) // thing that passes through
	if !p.Mapped {
		largest = p.SlotBytes
	}
	if p.PagedState && !p.MappedState {
		largest, p.StagingOut = max(largest, r.statePage(p)), stagingBuffers
	}
	if p.Activations == Offload {
		largest, p.StagingOut = max(largest, r.arena(Offload).Moved/2/int64(max(1, r.layers()))), stagingBuffers
	}
	if largest > 0 {
		p.Staging, p.StagingBytes = stagingBuffers, min(s.staging, align(largest))
	}
	p.row("staging", fmt.Sprintf("%d buffers in, %d out", p.Staging, p.StagingOut), int64(p.Staging+p.StagingOut)*p.StagingBytes, 0, 0)
	p.row("rings", "uploads, parameters, read-back", 3*p.RingBytes, 0, 0)
}
