//go:build !js

// Experiment measures what the QLoRA paper (arXiv 2305.14314) claims, on this engine: the error of a weight and the
// loss of a model in NF4, FP4 and Int4, by block size, with and without double quantization; and QLoRA beside LoRA over
// a base in 16 bits. `make experiment` runs it; docs/qlora.md has the results.
//
//	go run ./tools/experiment [-parts errors,losses-embedded] [-results docs/qlora.json]
//	go run ./tools/experiment -tables
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"

	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/engine"
	"qlora-wgpu/internal/host"
	"qlora-wgpu/internal/pretrained"
)

// experiment is what is measured with, and what came out.
type experiment struct {
	smol, small *pretrained.Model
	dev         *gpu.Device
	demo        string // folder of the embedded model and its data set
	data        string // folder of alpaca_en_demo.json and wiki_demo.txt
	plain       string // chats of the embedded model's kind
	minilm      string // all-MiniLM-L6-v2, weights in float32
	results
}

// part is something that is measured, whose results replace the earlier ones.
type part struct {
	name    string
	measure func(*experiment, context.Context) error
}

// parts are in the order in which they are measured.
var parts = []part{
	{"errors", (*experiment).measureErrors},
	{"losses-embedded", (*experiment).measureSmallLosses},
	{"training-embedded", (*experiment).trainSmall},
	{"losses-smollm2", (*experiment).measureSmolLosses},
	{"training-smollm2", (*experiment).trainSmol},
}

func main() {
	var all []string
	for _, p := range parts {
		all = append(all, p.name)
	}
	wanted := flag.String("parts", strings.Join(all, ","), "what to measure; of the rest the old results stay")
	name := flag.String("results", filepath.Join("docs", "qlora.json"), "where results are kept")
	tables := flag.Bool("tables", false, "measure nothing, print the tables of the results")
	smol := flag.String("model", "../shared/models/SmolLM2-135M-Instruct.Q4_1.gguf", "SmolLM2-135M-Instruct")
	var e experiment
	flag.StringVar(&e.data, "data", "../shared/data", "folder of alpaca_en_demo.json and wiki_demo.txt")
	flag.StringVar(&e.demo, "demo", "internal/demo", "folder of the embedded model and its data set")
	flag.StringVar(&e.plain, "plain", "build/experiment/plain.jsonl", "chats by tools/demo_model/generate.py")
	flag.StringVar(&e.minilm, "minilm", "build/experiment/minilm.safetensors", "all-MiniLM-L6-v2, weights in float32")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	var err error
	if e.results, err = readResults(*name); err == nil && *tables {
		fmt.Println(strings.Join(e.tables(), "\n"))
		return
	}
	if err == nil {
		err = e.open(ctx, *smol)
	}
	if err == nil {
		err = e.measure(ctx, strings.Split(*wanted, ","), *name)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "experiment:", err)
		os.Exit(1)
	}
}

// open opens models and device, for as long as the program runs.
func (e *experiment) open(ctx context.Context, smol string) (err error) {
	if e.smol, err = pretrained.Open(smol); err != nil {
		return err
	}
	if e.small, err = pretrained.Open(filepath.Join(e.demo, "model")); err != nil {
		return err
	}
	e.dev, err = engine.OpenDevice(ctx, engine.Options{Cache: host.MeasurementsIn("")}, quiet)
	return err
}

// measure keeps the results of each part as soon as there are any.
func (e *experiment) measure(ctx context.Context, wanted []string, results string) error {
	for _, name := range wanted {
		i := slices.IndexFunc(parts, func(p part) bool { return p.name == name })
		if i < 0 {
			return fmt.Errorf("there is no part %q", name)
		}
		if err := parts[i].measure(e, ctx); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if err := e.write(results); err != nil {
			return err
		}
	}
	return nil
}
