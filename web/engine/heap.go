//go:build js

package main

import (
	"runtime"
	"runtime/debug"

	"qlora-wgpu/internal/browser"
	"qlora-wgpu/trainer"
)

// heap is how far the Go heap has grown since a model began to be loaded, in bytes. Weights only pass through it: a
// WebAssembly module's memory never gets smaller.
type heap struct {
	Peak     int64 `json:"peak"`     // of objects, with those that were not collected yet
	Reserved int64 `json:"reserved"` // of the memory taken from the module

	objects, taken uint64 // when loading began
}

// While weights pass through, objects are collected as soon as a tenth of the heap is garbage: it is small, and this
// costs less than room that is never given back.
const (
	eager = 10
	usual = 100
)

// begin takes the measure from which the heap grows.
func (h *heap) begin() {
	debug.SetGCPercent(eager)
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	*h = heap{objects: m.HeapAlloc, taken: m.HeapSys}
}

func (h *heap) sample() {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	h.Peak = max(h.Peak, int64(m.HeapAlloc)-int64(h.objects))
	h.Reserved = max(h.Reserved, int64(m.HeapSys)-int64(h.taken))
}

func (h *heap) end() { debug.SetGCPercent(usual) }

// moduleBytes is where a WebAssembly module's memory ends.
const moduleBytes = 4 << 30

// room is what a run may take where the page knows of so many bytes. What it keeps on the host lies in the Go heap, and
// leaves a quarter of that to the rest.
func room(memory int64) trainer.Room {
	return trainer.Room{Total: memory, Host: moduleBytes / 4 * 3}
}

// metered is a model's file, at whose every read the heap is looked at.
type metered struct {
	*browser.Blob
	heap *heap
}

func (m metered) ReadAt(dst []byte, at int64) (int, error) {
	m.heap.sample()
	return m.Blob.ReadAt(dst, at)
}
