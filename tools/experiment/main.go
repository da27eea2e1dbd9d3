//go:build !js

// Experiment measures what the QLoRA paper (arXiv 2305.14314) claims, on this engine: the error of a weight and the
// loss of a model in NF4, FP4 and Int4, by block size, with and without double quantization; and QLoRA beside LoRA over
// a base in 16 bits. `make experiment` runs it; docs/qlora.md has the results.
//
//	go run ./tools/experiment [-parts errors,losses,training] [-results docs/qlora.json] [-tables]
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
	"unicode/utf8"

	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/dataset"
	"qlora-wgpu/internal/demo"
	"qlora-wgpu/internal/engine"
	"qlora-wgpu/internal/host"
	"qlora-wgpu/internal/pretrained"
	"qlora-wgpu/internal/settings"
	"qlora-wgpu/trainer"
)

// inputs are the files that are measured with.
type inputs struct {
	smol, demo, minilm, plain, data string
}

func main() {
	parts := flag.String("parts", "errors,losses,training", "what to measure; of the rest the old results stay")
	name := flag.String("results", filepath.Join("docs", "qlora.json"), "where results are kept")
	tables := flag.Bool("tables", false, "measure nothing, print the tables of the results")
	var in inputs
	flag.StringVar(&in.smol, "model", "../shared/models/SmolLM2-135M-Instruct.Q4_1.gguf", "a language model")
	flag.StringVar(&in.data, "data", "../shared/data", "folder of alpaca_en_demo.json and wiki_demo.txt")
	flag.StringVar(&in.demo, "demo", "internal/demo", "folder of the embedded model and its data set")
	flag.StringVar(&in.plain, "plain", "build/experiment/plain.jsonl", "chats by tools/demo_model/generate.py")
	flag.StringVar(&in.minilm, "minilm", "build/experiment/minilm.safetensors", "all-MiniLM-L6-v2, weights in float32")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := measure(ctx, in, strings.Split(*parts, ","), *name, *tables); err != nil {
		fmt.Fprintln(os.Stderr, "experiment:", err)
		os.Exit(1)
	}
}

func measure(ctx context.Context, in inputs, parts []string, name string, tables bool) error {
	r, err := readResults(name)
	if err != nil || tables {
		fmt.Print(strings.Join(r.tables(), "\n"))
		return err
	}
	smol, err := pretrained.Open(in.smol)
	if err != nil {
		return err
	}
	defer smol.Close()
	small, err := pretrained.Open(filepath.Join(in.demo, "model"))
	if err != nil {
		return err
	}
	defer small.Close()
	if slices.Contains(parts, "errors") {
		if r.Errors, err = measureErrors(in.minilm, smol, small); err != nil {
			return err
		}
	}
	if slices.Contains(parts, "losses") || slices.Contains(parts, "training") {
		if err := onDevice(ctx, in, parts, smol, small, &r); err != nil {
			return err
		}
	}
	return r.write(name)
}

// blocks are the block sizes that are compared.
var blocks = []int{64, 128, 256, 512}

// formatsOf are the types in all blocks, without and with double quantization.
func formatsOf(types ...*dataType) (list []format) {
	for _, t := range types {
		for _, block := range blocks {
			list = append(list, format{t, block, false}, format{t, block, true})
		}
	}
	return list
}

// The names of what is measured, in tables and pictures.
const (
	smolName   = "SmolLM2-135M"
	smallName  = "embedded model"
	minilmName = "all-MiniLM-L6-v2"
)

func measureErrors(minilm string, smol, small *pretrained.Model) (rows []errorRow, err error) {
	f, err := os.Open(minilm)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	encoder, err := stored(minilmName, f, "embeddings.")
	if err != nil {
		return nil, err
	}
	formats := formatsOf(types...)
	for _, w := range []weights{normals(1 << 22), encoder, linears(smallName, small), linears(smolName, smol)} {
		sums, err := errorsOf(w, formats)
		if err != nil {
			return nil, err
		}
		for i, f := range formats {
			rows = append(rows, errorRow{
				Weights: w.name, Count: w.size(), Type: f.Name, Block: f.block, Double: f.double, Bits: f.bits(),
				RMS: rounded(sums[i].relativeRMS()), Mean: rounded(sums[i].relativeMean()),
			})
		}
	}
	return rows, nil
}

// onDevice measures what the engine computes.
func onDevice(ctx context.Context, in inputs, parts []string, smol, small *pretrained.Model, r *results) error {
	dev, err := engine.OpenDevice(ctx, engine.Options{Cache: host.MeasurementsIn("")}, quiet)
	if err != nil {
		return err
	}
	defer dev.Release()
	if slices.Contains(parts, "losses") {
		if r.Losses, err = measureLosses(ctx, dev, in, smol, small); err != nil {
			return err
		}
	}
	if slices.Contains(parts, "training") {
		r.Training, err = measureTraining(ctx, dev, in, smol, small)
	}
	return err
}

func measureLosses(ctx context.Context, dev *gpu.Device, in inputs, smol, small *pretrained.Model) ([]lossRow, error) {
	plain, err := read(ctx, in.plain, "")
	if err != nil {
		return nil, err
	}
	articles, err := beginnings(filepath.Join(in.data, "wiki_demo.txt"), 8, 600)
	if err != nil {
		return nil, err
	}
	rows, err := subject{smallName, "chats of its kind", small, plain, false}.losses(ctx, dev, formatsOf(types...))
	if err != nil {
		return nil, err
	}
	// the paper's two other floats at its own block size alone: minutes on two cores
	formats := append(formatsOf(typeNF4, typeFP4, typeInt4), format{typeE2M1, 64, true}, format{typeE3M0, 64, true})
	more, err := subject{smolName, "Wikipedia", smol, articles, true}.losses(ctx, dev, formats)
	return append(rows, more...), err
}

func measureTraining(ctx context.Context, dev *gpu.Device, in inputs, smol, small *pretrained.Model) (rows []trainRow, err error) {
	var train, heldout, alpaca, held *dataset.Source
	for _, one := range []struct {
		to         **dataset.Source
		name, part string
	}{
		{&train, filepath.Join(in.demo, "train.jsonl"), ""}, {&heldout, filepath.Join(in.demo, "heldout.jsonl"), ""},
		{&alpaca, filepath.Join(in.data, "alpaca_en_demo.json"), ":900"}, {&held, filepath.Join(in.data, "alpaca_en_demo.json"), "900:908"},
	} {
		if *one.to, err = read(ctx, one.name, one.part); err != nil {
			return nil, err
		}
	}
	bases := []format{qlora, {typeFP4, 64, true}, {typeInt4, 64, true}}
	rows, err = course{
		subject{smallName, "pirate", small, heldout, false}, train, func(c *trainer.Config) { demo.Recipe.Set(c) }, 5, bases,
	}.runs(ctx, dev)
	if err != nil {
		return nil, err
	}
	more, err := course{
		subject{smolName, "Alpaca", smol, held, false}, alpaca, func(c *trainer.Config) {
			c.MaxSeqLength, c.BatchSize, c.GradientAccumulationSteps, c.MaxSteps, c.LearningRate = 192, 1, 1, 12, 1e-3
			c.GradientCheckpointing = settings.CheckpointOff
		}, 2, bases[:1],
	}.runs(ctx, dev)
	return append(rows, more...), err
}

// read opens a data set and takes a part of its rows; an empty one is all of them.
func read(ctx context.Context, name, part string) (*dataset.Source, error) {
	d := settings.Default[settings.Dataset]()
	d.Data = name
	opened, err := host.OpenData(ctx, d, "", quiet)
	if err != nil || part == "" {
		return opened.Train, err
	}
	return opened.Train.Slice(part)
}

// beginnings are the first so many bytes of the first lines of a text, up to the end of a word.
func beginnings(name string, lines, length int) (*dataset.Source, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	var rows []dataset.Row
	for i, line := range strings.Split(string(text), "\n")[:lines] {
		if len(line) > length {
			line = line[:length]
		}
		line = line[:max(0, strings.LastIndexByte(line, ' '))]
		if !utf8.ValidString(line) {
			return nil, fmt.Errorf("%s: line %d is cut within a character", name, i+1)
		}
		rows = append(rows, dataset.Row{Text: line, Where: fmt.Sprintf("line %d", i+1)})
	}
	return dataset.SourceOf(name, rows), nil
}
