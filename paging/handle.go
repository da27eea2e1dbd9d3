package paging

import (
	"fmt"

	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/frozen"
	"qlora-wgpu/internal/kernels"
)

// Handle is a layer's region in the store.
type Handle struct {
	store  *Store
	layout *Layout
	pages  []int
}

// AddRegion makes room for a region, of a layer (from 0) or Other. A resident one that does not fit the device is a
// *gpu.OutOfMemory.
func (s *Store) AddRegion(label string, layer int, layout *Layout, streamed bool) (*Handle, error) {
	h := &Handle{store: s, layout: layout}
	for i, bytes := range layout.Parts {
		id, err := s.addPage(fmt.Sprintf("%s part %d", label, i), layer, bytes, streamed)
		if err != nil {
			return nil, err
		}
		h.pages = append(h.pages, id)
	}
	return h, nil
}

// Put fills a part of the region with all of its bytes. The store keeps the bytes of a streamed one, which must not
// change any more. Errors are the device's.
func (h *Handle) Put(part int, data []byte) error {
	h.layout.attach(part, data)
	return h.store.put(h.pages[part], data)
}

// Layout is the region's layout.
func (h *Handle) Layout() *Layout { return h.layout }

// Use is the region's tensors for what is recorded next.
func (h *Handle) Use(rec *gpu.Recorder) Weights { return &use{h, rec} }

type use struct {
	handle *Handle
	rec    *gpu.Recorder
}

// region has the parts in place that hold what was asked for.
func (u *use) region(parts ...int) *Region {
	ids := make([]int, len(parts))
	for i, part := range parts {
		ids[i] = u.handle.pages[part]
	}
	r := &Region{Layout: u.handle.layout, Parts: make([]gpu.Range, len(u.handle.pages))}
	for i, at := range u.handle.store.acquire(u.rec, ids...) {
		r.Parts[parts[i]] = at
	}
	return r
}

func (u *use) Linear(name string) frozen.Linear {
	return u.region(u.handle.layout.PartsOf(name)...).Linear(name)
}

func (u *use) Vector(name string) kernels.Vector {
	return u.region(u.handle.layout.PartsOf(name)...).Vector(name)
}
