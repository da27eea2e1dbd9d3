//go:build !js

package gpu

/*
#include <stdint.h>
#include <stdlib.h>

// Prototypes are those of webgpu.h as the linked library implements it.
typedef struct WGPUQueueImpl *WGPUQueue;
typedef void (*qlora_done_callback)(int32_t status, void *userdata);
extern void wgpuQueueOnSubmittedWorkDone(WGPUQueue queue, qlora_done_callback callback, void *userdata);

static void qlora_count(int32_t status, void *userdata) { __atomic_add_fetch((int32_t *)userdata, 1, __ATOMIC_RELEASE); }
static void qlora_count_done(void *queue, int32_t *count) {
	wgpuQueueOnSubmittedWorkDone((WGPUQueue)queue, qlora_count, count);
}
*/
import "C"

import (
	"sync/atomic"
	"unsafe"
)

// hostDevice counts the watched submissions that the device is done with.
type hostDevice struct {
	done   *int32 // in C's memory, and never freed: 4 bytes a device, which the driver may still write
	heard  int32
	waiter []func()
}

// whenDone has then called, in a later whenDone or while the device is waited for, once it is done with all that was
// submitted. The binding's own OnSubmittedWorkDone hands C a pointer into Go's memory, as its MapAsync does.
func (d *Device) whenDone(then func()) {
	h := &d.host
	if h.done == nil {
		h.done = (*int32)(C.calloc(1, 4))
	}
	h.waiter = append(h.waiter, then)
	// wgpu.Queue is {device, queue}, two C pointers.
	C.qlora_count_done((*[2]unsafe.Pointer)(unsafe.Pointer(d.queue))[1], (*C.int32_t)(h.done))
	d.native.Poll(false, nil)
	h.hear()
}

// hear calls who waits for what is done.
func (h *hostDevice) hear() {
	for ; len(h.waiter) > 0 && atomic.LoadInt32(h.done) != h.heard; h.heard++ {
		then := h.waiter[0]
		h.waiter = h.waiter[1:]
		then()
	}
}
