package model

import "qlora-wgpu/gpu"

// visible says which tokens see each other in layers with the same window.
type visible struct {
	firstKey  []*gpu.Tensor // of each chunk U32 [T]: the first key that a query sees, counted with those of the cache
	lastQuery *gpu.Tensor   // U32 [T]: one past the last query that sees a key
}

// within is what tokens see of each other through a window, 0: all of their sequence. It is uploaded once a pass.
func (p *Pass) within(window int) visible {
	if v, there := p.visible[window]; there {
		return v
	}
	cached := 0
	if p.Cache != nil {
		cached = p.Cache.rows(p.Layer) // as many in every layer with this window
	}
	first, last := p.sequences.firstKey, p.sequences.lastQuery
	if window > 0 {
		first, last = make([]uint32, p.Tokens), make([]uint32, p.Tokens)
		for t := range first {
			first[t] = max(p.sequences.firstKey[t], uint32(max(0, cached+t+1-window)))
			last[t] = min(p.sequences.lastQuery[t], uint32(t+window))
		}
	}
	v := visible{lastQuery: p.upload("last query", last)}
	for _, c := range p.Chunks {
		v.firstKey = append(v.firstKey, p.upload("first key", first[c.First:c.First+c.Tokens]))
	}
	if p.visible == nil {
		p.visible = map[int]visible{}
	}
	p.visible[window] = v
	return v
}
