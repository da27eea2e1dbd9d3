//go:build !js

package trainer

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/checkpoint"
	"qlora-wgpu/internal/dataset"
	"qlora-wgpu/internal/nf4cache"
	"qlora-wgpu/internal/pretrained"
	"qlora-wgpu/internal/usererr"
	"qlora-wgpu/lora"
)

// Train opens the files that the configuration names and runs it.
func Train(ctx context.Context, c Config, emit func(Event)) (*Summary, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if c.Arch != "" {
		return trainShape(ctx, c, emit)
	}
	in := Inputs{Output: nativeOutput{}, Cache: measurementCache(c.CacheDir), SubmitScale: submitScale(), HostMemory: hostMemory}
	var err error
	if in.Model, err = pretrained.Open(c.Model); err != nil {
		return nil, err
	}
	defer in.Model.Close()
	if dir := cacheFolder(c.CacheDir); dir != "" {
		quantized := quantizedCache(ctx, dir, in.Model, emit)
		defer quantized.Close()
		in.Quantized = quantized
	}
	if in.Data, in.Valid, err = dataset.Open(c.Data); err != nil {
		return nil, err
	}
	if in.ChatTemplate, err = readTemplate(c.ChatTemplate); err != nil {
		return nil, err
	}
	if c.InitAdapter != "" {
		if in.Adapter, err = OpenAdapter(c.InitAdapter); err != nil {
			return nil, err
		}
	}
	return Run(ctx, c, in, emit)
}

// RandomModel is a common model's shape with random weights, of so many layers (0: all).
func RandomModel(arch string, layers int) (*pretrained.Model, error) {
	shape, known := pretrained.Shape(arch)
	if !known {
		return nil, usererr.New("settings", "", "there is no architecture %q", arch).Of(usererr.Unsupported).Hinted("known are %s", strings.Join(pretrained.ShapeNames(), ", "))
	}
	if layers > 0 {
		shape = shape.WithLayers(min(layers, len(shape.Layers)))
	}
	return pretrained.Random(arch, shape), nil
}

// trainShape trains a shape with random weights over random tokens; nothing is written.
func trainShape(ctx context.Context, c Config, emit func(Event)) (*Summary, error) {
	m, err := RandomModel(c.Arch, c.Layers)
	if err != nil {
		return nil, err
	}
	dev, err := gpu.Open(ctx, gpu.Options{Adapter: c.Device, SubmitScale: submitScale()})
	if err != nil {
		return nil, err
	}
	defer dev.Release()
	emit(Event{Kind: "info", Message: "Device: " + describeDevice(dev.Info)})
	r, err := Synthetic(ctx, dev, SyntheticOptions{
		Model: m, Name: c.Arch, Tokens: c.BatchSize * c.MaxSeqLength, MicroBatches: c.GradientAccumulationSteps, Steps: c.MaxSteps, Config: c, HostMemory: hostMemory,
	}, emit)
	if err != nil {
		return nil, err
	}
	last := r.Steps[len(r.Steps)-1]
	return &Summary{Steps: len(r.Steps), Loss: last.Loss, Seconds: r.Median() * float64(len(r.Steps))}, nil
}

// submitScale is the supervisor's wish for shorter submissions after the driver killed a run; 0: none.
func submitScale() float64 {
	if scale, err := strconv.ParseFloat(os.Getenv("QLORA_SUBMIT_SCALE"), 64); err == nil && scale > 0 && scale < 1 {
		return scale
	}
	return 0
}

// OpenAdapter reads a PEFT adapter's folder.
func OpenAdapter(dir string) (*AdapterFiles, error) {
	name := filepath.Join(dir, lora.ConfigFile)
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, usererr.New("load adapter", name, "%w", err).Hinted("an adapter is a folder with %s and %s", lora.ConfigFile, lora.WeightsFile)
	}
	a := &AdapterFiles{Path: dir}
	if a.Config, err = lora.ReadConfig(data, name); err != nil {
		return nil, err
	}
	name = filepath.Join(dir, lora.WeightsFile)
	f, err := os.Open(name)
	if err != nil {
		return nil, usererr.New("load adapter", name, "%w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, usererr.New("load adapter", name, "%w", err)
	}
	a.Tensors, err = lora.ReadWeights(f, info.Size(), name)
	return a, err
}

func readTemplate(path string) (string, error) {
	if path == "" {
		return "", nil
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return "", usererr.New("read chat template", path, "%w", err)
	}
	return string(data), nil
}

// nativeOutput writes a run's files to the file system.
type nativeOutput struct{ checkpoint.Files }

func (nativeOutput) Append(name string) (checkpoint.Writer, error) {
	return os.OpenFile(name, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o666)
}

// folderCache keeps measurements under the user's cache folder.
type folderCache string

// cacheFolder is the one that the user named, or one under the user's cache folder; empty where the system has none.
func cacheFolder(named string) string {
	if named != "" {
		return named
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return ""
	}
	return filepath.Join(dir, "qlora-wgpu")
}

func measurementCache(named string) Cache {
	if dir := cacheFolder(named); dir != "" {
		return folderCache(dir)
	}
	return nil
}

// CacheLimit is what quantized models take together before the least recently used go.
const CacheLimit = nf4cache.DefaultLimit

// CachedModel is a quantized model in the cache.
type CachedModel = nf4cache.Entry

// CachedModels lists the quantized models below the cache folder, the least recently used first; an empty name is the user's.
func CachedModels(named string) (dir string, models []CachedModel, err error) {
	if dir = cacheFolder(named); dir == "" {
		return "", nil, usererr.New("list cache", "", "this system has no cache folder").Hinted("--cache-dir names one")
	}
	dir = filepath.Join(dir, quantizedFolder)
	if models, err = nf4cache.List(dir); err != nil {
		return "", nil, usererr.New("list cache", dir, "%w", err)
	}
	return dir, models, nil
}

const quantizedFolder = "nf4"

// quantizedCache keeps quantized models below the cache folder.
func quantizedCache(ctx context.Context, dir string, source *pretrained.Model, emit func(Event)) *nf4cache.Cache {
	say := func(kind string) func(string) {
		return func(message string) { emit(Event{Kind: kind, Message: message}) }
	}
	return nf4cache.New(ctx, filepath.Join(dir, quantizedFolder), CacheLimit, source, say("warning"), say("info"))
}

func (c folderCache) Load(name string) ([]byte, error) {
	return os.ReadFile(filepath.Join(string(c), name))
}

func (c folderCache) Save(name string, data []byte) error {
	if err := os.MkdirAll(string(c), 0o777); err != nil {
		return err
	}
	temporary, err := os.CreateTemp(string(c), name)
	if err != nil {
		return err
	}
	_, err = temporary.Write(data)
	if closed := temporary.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = os.Rename(temporary.Name(), filepath.Join(string(c), name))
	}
	if err != nil {
		os.Remove(temporary.Name())
	}
	return err
}

// EvalOptions are the settings of an evaluation.
type EvalOptions struct {
	Model, Adapter, Data string
	Rows                 string // "900:960"; empty: all
	MaxSeqLength         int    // 0: the model's limit
	TrainOnInputs        bool
	ChatTemplate         string
	BlockSize            int
	Device, Autotune     string
	CacheDir             string // empty: under the user's cache folder
	VRAMBudget           string // device memory; empty: as much as it takes, with all weights on the device
}

// Evaluate gives the mean loss over the target tokens of a data set.
func Evaluate(ctx context.Context, o EvalOptions, emit func(Event)) (*EvalStats, error) {
	for _, err := range []error{blockSize("block_size", o.BlockSize), within("max_seq_length", o.MaxSeqLength, 0, 1<<20)} {
		if err != nil {
			return nil, err
		}
	}
	data, valid, err := dataset.Open(o.Data)
	if err != nil {
		return nil, err
	}
	if valid != nil {
		data = valid
	}
	if o.Rows != "" {
		if data, err = data.Slice(o.Rows); err != nil {
			return nil, err
		}
	}
	a, err := OpenAnswerer(ctx, GenerateOptions{
		Model: o.Model, Adapter: o.Adapter, MaxTokens: 1, ChatTemplate: o.ChatTemplate, BlockSize: o.BlockSize, Device: o.Device, Autotune: o.Autotune, CacheDir: o.CacheDir, VRAMBudget: o.VRAMBudget,
	}, emit)
	if err != nil {
		return nil, err
	}
	defer a.Close()
	return a.Evaluate(ctx, data, o.MaxSeqLength, o.TrainOnInputs)
}

// Generate answers a prompt; write gets the text piece by piece as it is made.
func Generate(ctx context.Context, o GenerateOptions, write func(piece string) error, emit func(Event)) error {
	a, err := OpenAnswerer(ctx, o, emit)
	if err != nil {
		return err
	}
	defer a.Close()
	return a.Answer(ctx, o.Prompt, write)
}

// OpenAnswerer opens the files that the options name, and loads the model; their Prompt is not used.
func OpenAnswerer(ctx context.Context, o GenerateOptions, emit func(Event)) (*Answerer, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	in := Inputs{Cache: measurementCache(o.CacheDir), HostMemory: hostMemory}
	var err error
	if o.Adapter != "" {
		if in.Adapter, err = OpenAdapter(o.Adapter); err != nil {
			return nil, err
		}
	}
	if in.ChatTemplate, err = readTemplate(o.ChatTemplate); err != nil {
		return nil, err
	}
	if in.Model, err = pretrained.Open(o.Model); err != nil {
		return nil, err
	}
	owned := []func(){func() { in.Model.Close() }}
	if dir := cacheFolder(o.CacheDir); dir != "" {
		quantized := quantizedCache(ctx, dir, in.Model, emit)
		in.Quantized = quantized
		owned = append(owned, quantized.Close)
	}
	a, err := NewAnswerer(ctx, o, in, emit)
	if err != nil {
		closeAll(owned)
		return nil, err
	}
	a.owned = owned
	return a, nil
}

// Devices lists the adapters of this machine.
func Devices() ([]gpu.AdapterInfo, error) { return gpu.Adapters() }
