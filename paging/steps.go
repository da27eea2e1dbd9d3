package paging

import (
	"cmp"
	"slices"
)

// step is one thing that leaves the device.
type step struct {
	cost    float64 // bytes moved for each byte freed
	weights bool    // it goes through the ring
	take    func(d *Decisions)
}

// steps lists what can leave the device, the cheapest for the bytes it frees first.
func (r *Recording) steps(start Decisions) (all []step) {
	add := func(freed, moved int64, take func(d *Decisions)) {
		if freed > 0 {
			all = append(all, step{cost: float64(moved) / float64(freed), take: take})
		}
	}
	addWeights := func(freed, moved int64, take func(d *Decisions)) {
		add(freed, moved, take)
		if freed > 0 {
			all[len(all)-1].weights = true
		}
	}
	micro := int64(max(1, r.MicroBatches))
	add(r.Embedding, micro*r.Gather, func(d *Decisions) { d.HostEmbedding = true })
	if !start.PagedState {
		add(r.Moments, 2*r.Moments, func(d *Decisions) { d.PagedState = true })
	}
	before := total(r.arena(start.Activations).Buffers)
	for _, a := range start.Lighter() {
		if !r.recorded(a) {
			continue
		}
		to := r.arena(a)
		bytes := total(to.Buffers)
		// Computing again moves no byte, and costs at most a third of a step; the least of it comes first.
		add(before-bytes, micro*to.Moved, func(d *Decisions) {
			if slices.Contains(d.Lighter(), a) {
				d.Activations = a
			}
		})
		before = min(before, bytes)
	}
	var layers, head, headUses int64
	for i, page := range r.Pages {
		if page.Layer >= 0 {
			layers += page.Bytes
		} else {
			head, headUses = head+page.Bytes, max(headUses, int64(len(r.Schedule.positions[i])))
		}
	}
	if n := int64(r.layers()); n > 0 {
		for range n {
			addWeights(layers/n, 2*micro*layers/n, func(d *Decisions) { d.Layers++ })
		}
	}
	if !r.Tied {
		for i := len(r.Pages) - 1; i >= 0 && r.Pages[i].Layer < 0; i-- {
			addWeights(r.Pages[i].Bytes, micro*headUses*r.Pages[i].Bytes, func(d *Decisions) { d.StreamedHead++ })
		}
		head = 0
	}
	// Where the head's table is the embedding too, the host gathers rows, so it needs all of the table.
	addWeights(head, micro*(headUses*head+r.Gather), func(d *Decisions) { d.StreamedHead, d.HostEmbedding = r.headPages(), true })
	slices.SortStableFunc(all, func(a, b step) int { return cmp.Compare(a.cost, b.cost) })
	return all
}
