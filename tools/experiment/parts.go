//go:build !js

package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"qlora-wgpu/internal/dataset"
	"qlora-wgpu/internal/demo"
	"qlora-wgpu/internal/host"
	"qlora-wgpu/internal/settings"
	"qlora-wgpu/trainer"
)

// blocks are the block sizes that are compared; the last one stands for a scale that many weights share.
var blocks = []int{64, 128, 256, 512, 4096}

// formatsOf are the types in blocks, without and with double quantization.
func formatsOf(blocks []int, types ...*dataType) (list []format) {
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

func (e *experiment) measureErrors(context.Context) error {
	f, err := os.Open(e.minilm)
	if err != nil {
		return err
	}
	defer f.Close()
	encoder, err := stored(minilmName, f, "embeddings.")
	if err != nil {
		return err
	}
	e.Errors = nil
	formats := formatsOf(blocks, types...)
	for _, w := range []weights{normals(1 << 22), encoder, linears(smallName, e.small), linears(smolName, e.smol)} {
		sums, err := errorsOf(w, formats)
		if err != nil {
			return err
		}
		for i, f := range formats {
			e.Errors = append(e.Errors, errorRow{
				Weights: w.name, Count: w.size(), Type: f.Name, Block: f.block, Double: f.double, Bits: f.bits(),
				RMS: rounded(sums[i].relativeRMS()), Mean: rounded(sums[i].relativeMean()),
			})
		}
	}
	return nil
}

func (e *experiment) measureSmallLosses(ctx context.Context) error {
	plain, err := read(ctx, e.plain, "")
	if err != nil {
		return err
	}
	rows, err := subject{smallName, "chats of its kind", e.small, plain, false, 0}.losses(ctx, e.dev, formatsOf(blocks, types...))
	e.Losses = replaced(e.Losses, rows)
	return err
}

func (e *experiment) measureSmolLosses(ctx context.Context) error {
	articles, err := beginnings(filepath.Join(e.data, "wiki_demo.txt"), 8, 600)
	if err != nil {
		return err
	}
	var formats []format
	for _, t := range types {
		formats = append(formats, format{t, 64, true}, format{t, 4096, true})
	}
	for _, f := range formatsOf(blocks[:4], typeNF4, typeFP4, typeInt4) { // the others would take minutes more
		if !slices.Contains(formats, f) {
			formats = append(formats, f)
		}
	}
	rows, err := subject{smolName, "Wikipedia", e.smol, articles, true, 0}.losses(ctx, e.dev, formats)
	e.Losses = replaced(e.Losses, rows)
	return err
}

func (e *experiment) trainSmall(ctx context.Context) error {
	train, err := read(ctx, filepath.Join(e.demo, "train.jsonl"), "")
	if err != nil {
		return err
	}
	held, err := read(ctx, filepath.Join(e.demo, "heldout.jsonl"), "")
	if err != nil {
		return err
	}
	rows, err := course{
		subject{smallName, "pirate", e.small, held, false, demo.Recipe.MaxSeqLength}, train, demo.Recipe.Set, 5,
		[]format{qlora, {typeFP4, 64, true}, {typeInt4, 64, true}},
	}.runs(ctx, e.dev)
	e.Training = replaced(e.Training, rows)
	return err
}

func (e *experiment) trainSmol(ctx context.Context) error {
	alpaca := filepath.Join(e.data, "alpaca_en_demo.json")
	train, err := read(ctx, alpaca, ":900")
	if err != nil {
		return err
	}
	held, err := read(ctx, alpaca, "900:908")
	if err != nil {
		return err
	}
	rows, err := course{
		subject{smolName, "Alpaca", e.smol, held, false, 128}, train, func(c *trainer.Config) {
			c.BatchSize, c.GradientAccumulationSteps, c.MaxSteps, c.LearningRate = 1, 1, 8, 1e-3
			c.GradientCheckpointing = settings.CheckpointOff
		}, 2, []format{qlora},
	}.runs(ctx, e.dev)
	e.Training = replaced(e.Training, rows)
	return err
}

// read opens a data set and takes a part of its rows; an empty one is all of them.
func read(ctx context.Context, name, part string) (*dataset.Source, error) {
	d := settings.Default[settings.Dataset]()
	d.Data = name
	opened, err := host.OpenData(ctx, d, "", quiet)
	if err != nil {
		return nil, err
	}
	if part == "" {
		return opened.Train, nil
	}
	return opened.Train.Slice(part)
}

// beginnings are the first so many bytes of the first lines of a text, up to the end of a word.
func beginnings(name string, lines, length int) (*dataset.Source, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	list := strings.Split(string(text), "\n")
	if len(list) < lines {
		return nil, fmt.Errorf("%s has %d lines", name, len(list))
	}
	var rows []dataset.Row
	for i, line := range list[:lines] {
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
