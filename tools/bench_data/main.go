// Bench_data measures what a data set of any size takes of time and memory: it writes conversations of 1 to 2 KB, and
// for a small set, the set, and the set once more a process of its own prepares a run and takes its first batches.
//
//	go run ./tools/bench_data -model MODEL -size 10000000000 [-dir DIR] [-keep]
//
// The folder takes about twice the size.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"qlora-wgpu/internal/dataloader"
	"qlora-wgpu/internal/events"
	"qlora-wgpu/internal/host"
	"qlora-wgpu/internal/processor"
	"qlora-wgpu/internal/settings"
)

// measured is what a process says of itself.
type measured struct {
	Opened, Prepared, Batches float64 // seconds until the data set was opened, the run prepared, its batches read
	Rows, Samples, Tokens     int
	CPU                       float64
	Peak                      int64 // KiB resident
}

// batches are so many as an hour's run may take.
const batches = 2000

func main() {
	model := flag.String("model", "", "whose tokenizer and template are used")
	size := flag.Int64("size", 10e9, "bytes of the data set")
	dir := flag.String("dir", filepath.Join("build", "bench-data"), "where it and the cache lie meanwhile")
	keep := flag.Bool("keep", false, "leave them there")
	data := flag.String("prepare", "", "measure this data set alone, in this process")
	flag.Parse()
	run := func() error { return compare(*model, *dir, *size, *keep) }
	if *data != "" {
		run = func() error { return prepare(*model, *data, *dir) }
	}
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func compare(model, dir string, size int64, keep bool) error {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	small, large := filepath.Join(dir, "small.jsonl"), filepath.Join(dir, "large.jsonl")
	if !keep {
		defer os.RemoveAll(dir)
	}
	for name, bytes := range map[string]int64{small: 1e6, large: size} {
		if info, err := os.Stat(name); err == nil && info.Size() >= bytes {
			continue
		}
		began := time.Now()
		rows, err := generate(name, bytes)
		if err != nil {
			return err
		}
		fmt.Printf("%s: %d rows, written in %.0f s\n", name, rows, time.Since(began).Seconds())
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	var base int64
	for _, one := range []struct{ name, data string }{{"1 MB", small}, {"first start", large}, {"second start", large}} {
		command := exec.Command(self, "-model", model, "-dir", dir, "-prepare", one.data)
		command.Stderr = os.Stderr
		out, err := command.Output()
		if err != nil {
			return fmt.Errorf("%s: %w", one.name, err)
		}
		var m measured
		if err := json.Unmarshal(out, &m); err != nil {
			return err
		}
		if one.data == small {
			base = m.Peak
		}
		fmt.Printf("%s: %d rows, %d samples, %d tokens; opened %.1f s, prepared %.1f s (%.1f MB/s), %d batches %.1f s; CPU %.0f s; "+
			"peak %.0f MiB, %.0f above the small set's\n", one.name, m.Rows, m.Samples, m.Tokens, m.Opened, m.Prepared,
			float64(size)/1e6/m.Prepared, batches, m.Batches-m.Prepared, m.CPU, float64(m.Peak)/1024, float64(m.Peak-base)/1024)
	}
	return nil
}

func prepare(model, data, dir string) error {
	ctx, began := context.Background(), time.Now()
	last := time.Now()
	emit := func(e events.Event) {
		if _, progress := e.(events.Progress); progress && time.Since(last) < 30*time.Second {
			return
		}
		last = time.Now()
		fmt.Fprintln(os.Stderr, e)
	}
	source, err := host.OpenModel(ctx, model, emit)
	if err != nil {
		return err
	}
	defer source.Close()
	text, err := processor.New(source, model, processor.Options{Now: time.Now()})
	if err != nil {
		return err
	}
	var m measured
	set, err := host.OpenData(ctx, settings.Dataset{Data: data}, filepath.Join(dir, "cache"), emit)
	if err != nil {
		return err
	}
	defer set.Close()
	m.Opened = time.Since(began).Seconds()
	c := settings.Default[settings.Train]()
	c.Data, c.Packing, c.ValSize, c.MaxSteps = data, true, 0.001, batches
	loader, err := dataloader.New(ctx, c, text, source.Spec, set.Train, set.Valid, set.Samples, emit)
	if err != nil {
		return err
	}
	m.Prepared = time.Since(began).Seconds()
	for range batches {
		if _, err := loader.Stream.Next(); err != nil {
			return err
		}
	}
	m.Batches = time.Since(began).Seconds()
	m.Rows, m.Samples, m.Tokens = loader.Report.Rows, loader.Report.Samples, loader.Report.Tokens
	m.CPU, m.Peak = host.CPUSeconds(), host.PeakResidentKiB()
	return json.NewEncoder(os.Stdout).Encode(m)
}
