//go:build js

// Command check runs in a dedicated worker of web/check's page: it compiles every shader in the browser, runs every
// operation's cases and the steps of a parity case there. Each result is one JSON message to the page; the last one is
// the summary.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall/js"
	"time"

	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/kernels"
	"qlora-wgpu/internal/opcases"
)

// message is what the page receives: one "shader", "parity" or "case" each, then one "summary".
type message struct {
	Kind    string  `json:"kind"`
	Name    string  `json:"name"`
	OK      bool    `json:"ok"`
	Seconds float64 `json:"seconds"`
	Detail  string  `json:"detail"`
}

func (m message) post() {
	data, err := json.Marshal(m)
	if err != nil {
		panic(err)
	}
	js.Global().Call("postMessage", string(data))
}

// devices is how many devices run cases side by side: while one waits for a pipeline, which takes up to 20 s on a
// software adapter, the other goes on.
const devices = 2

// A checker counts verdicts. Only names that contain filter are run.
type checker struct {
	filter string

	mu             sync.Mutex
	passed, failed int
}

// check runs one check and posts its verdict. A panic is a failure of this check alone; a lost device ends everything.
func (c *checker) check(dev *gpu.Device, kind, name string, run func() (ok bool, detail string)) {
	if !strings.Contains(name, c.filter) {
		return
	}
	start := time.Now()
	ok, detail := func() (ok bool, detail string) {
		defer func() {
			if p := recover(); p != nil {
				ok, detail = false, fmt.Sprintf("panic: %v", p)
			}
		}()
		return run()
	}()
	message{kind, name, ok, time.Since(start).Seconds(), detail}.post()
	if !ok {
		if err := dev.Wait(context.Background()); err != nil {
			fatal("device", err)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if ok {
		c.passed++
	} else {
		c.failed++
	}
}

// fatal posts the last message and stops; the page or the test closes the worker.
func fatal(name string, err error) {
	message{"fatal", name, false, 0, err.Error()}.post()
	select {}
}

func main() {
	c := &checker{filter: os.Args[1]}
	start := time.Now()
	ctx := context.Background()
	work := make(chan func(*gpu.Device))
	var running sync.WaitGroup
	var opened *gpu.Device
	for range devices {
		dev, err := gpu.Open(ctx, gpu.Options{})
		if err != nil {
			fatal("open device", err)
		}
		opened = dev
		running.Go(func() {
			for f := range work {
				f(dev)
			}
			dev.Release()
		})
	}
	c.parity(ctx, work)
	c.shaders(opened, work)
	c.cases(ctx, opened, work)
	close(work)
	running.Wait()
	message{
		"summary", opened.Info.Name, c.failed == 0 && c.passed > 0, time.Since(start).Seconds(),
		fmt.Sprintf("%d passed, %d failed", c.passed, c.failed),
	}.post()
	select {} // a timer of the Go runtime that fires after its exit is an error on the console
}

// shaders compiles every file that devices like this one run, with its own constants, and the modules of the library by
// themselves; the constants of variants are compiled by the cases.
func (c *checker) shaders(like *gpu.Device, work chan<- func(*gpu.Device)) {
	for _, spec := range slices.Concat(kernels.Specs(), kernels.ModuleSpecs()) {
		if !like.Has(spec.Needs) {
			continue
		}
		work <- func(dev *gpu.Device) {
			c.check(dev, "shader", spec.Name, func() (bool, string) {
				if _, err := dev.Kernel(spec); err != nil {
					return false, err.Error()
				}
				return true, ""
			})
		}
	}
}

// cases runs every operation's cases with every variant; those of one variant on one device, so that its pipelines are
// made once.
func (c *checker) cases(ctx context.Context, like *gpu.Device, work chan<- func(*gpu.Device)) {
	type key struct{ op, variant string }
	var order []key
	groups := map[key][]opcases.Case{}
	for _, k := range opcases.All() {
		for _, v := range k.On(like) {
			id := key{k.Op, v}
			if groups[id] == nil {
				order = append(order, id)
			}
			groups[id] = append(groups[id], k)
		}
	}
	for _, id := range order {
		work <- func(dev *gpu.Device) {
			for _, k := range groups[id] {
				c.check(dev, "case", strings.TrimSpace(k.Op+" "+k.Shape+" "+id.variant), func() (bool, string) {
					r := opcases.Run(ctx, dev, k, id.variant)
					if r.Err != nil {
						return false, r.Err.Error()
					}
					return r.OK(), fmt.Sprintf("%.0f %% of the allowance: %s", 100*r.Used, r.Detail)
				})
			}
		}
	}
}
