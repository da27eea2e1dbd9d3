package lora

import (
	"fmt"
	"io"
	"maps"
	"path"
	"slices"

	"qlora-wgpu/internal/checkpoint"
	"qlora-wgpu/internal/usererr"
)

const opLoad = "load adapter"

// Files is a PEFT adapter as read from its folder.
type Files struct {
	Path    string
	Config  Config
	Tensors []Tensor
}

// Bytes of an adapter's files. The largest that PEFT writes for models of this size has some gigabytes.
const (
	maxConfig  = 16 << 20
	maxWeights = 16 << 30
)

// Open reads the PEFT adapter in a folder of the store. Errors are *usererr.Error: a file that is missing or damaged,
// or asks for what this program does not do.
func Open(s checkpoint.Store, dir string) (*Files, error) {
	name := path.Join(dir, ConfigFile)
	text, err := checkpoint.ReadBytes(s, name, maxConfig)
	if err != nil {
		if f, isModel := s.Open(path.Join(dir, "config.json")); isModel == nil {
			f.Close()
			return nil, usererr.New(opLoad, dir, "it is a model and no adapter").
				Hinted("an adapter is a folder with %s and %s", ConfigFile, WeightsFile)
		}
		return nil, usererr.New(opLoad, name, "%w", err).Hinted("an adapter is a folder with %s and %s", ConfigFile, WeightsFile)
	}
	weights, err := s.Open(path.Join(dir, WeightsFile))
	if err != nil {
		return nil, usererr.New(opLoad, path.Join(dir, WeightsFile), "%w", err).
			Hinted("PEFT's save_pretrained writes it; an adapter_model.bin has to be loaded with PEFT and saved anew")
	}
	defer weights.Close()
	if weights.Size() > maxWeights {
		return nil, usererr.New(opLoad, path.Join(dir, WeightsFile), "%d bytes, more than %d", weights.Size(), int64(maxWeights)).
			Of(usererr.Format)
	}
	return Read(dir, text, weights, weights.Size())
}

// Read reads a PEFT adapter from its two files; dir names their folder in errors, which are Open's.
func Read(dir string, config []byte, weights io.ReaderAt, size int64) (*Files, error) {
	f := &Files{Path: dir}
	var err error
	if f.Config, err = ReadConfig(config, path.Join(dir, ConfigFile)); err != nil {
		return nil, err
	}
	held, err := readWeights(weights, size, path.Join(dir, WeightsFile))
	if err != nil {
		return nil, err
	}
	f.Tensors, f.Config.Within = held.tensors, held.within
	if held.encoder > 0 {
		f.Config.loaded.warnings = append(f.Config.loaded.warnings, fmt.Sprintf(
			"%s: matrices of linears that only images go through are left out (%d).", path.Join(dir, WeightsFile), held.encoder))
	}
	halves := map[string]int{}
	for _, t := range f.Tensors {
		linear, _, _ := splitKey(t.Name)
		halves[linear]++
	}
	if len(halves) == 0 {
		return nil, usererr.New(opLoad, path.Join(dir, WeightsFile), "it holds no matrices").
			Hinted("PEFT writes such a file where training was sharded and never gathered: save the adapter anew")
	}
	f.Config.loaded.path, f.Config.loaded.adapted = dir, map[string]bool{}
	for _, t := range f.Tensors {
		linear, isA, _ := splitKey(t.Name)
		if halves[linear] == 1 {
			missing := keySuffixA
			if isA {
				missing = keySuffixB
			}
			missing = keyPrefix + f.Config.named(linear) + missing
			return nil, usererr.New(opLoad, dir, "%s is missing", missing).Hinted("the file is incomplete: fetch it anew")
		}
		f.Config.loaded.adapted[linear] = true
	}
	return f, nil
}

// loaded is what a Config keeps of the files that it comes from.
type loaded struct {
	path      string
	selection selection
	adapted   map[string]bool // linears with matrices
	base      string          // base_model_name_or_path; empty: none
	warnings  []string
}

// check compares the linears with matrices to the model's, and to what the configuration names: as in PEFT one that is
// named but has no matrices stays as it is. What the configuration does not name PEFT would leave out in silence.
func (f *loaded) check(linears []*Linear, named func(linear string) string) (warnings []string, err error) {
	strangers := make(map[string]bool, len(f.adapted))
	for name := range f.adapted {
		strangers[name] = true
	}
	var bare []string
	for _, l := range linears {
		delete(strangers, l.Name)
		is, known := f.selection.names(named(l.Name))
		switch {
		case f.adapted[l.Name] && known && !is:
			return nil, usererr.New(opLoad, f.path, "%s holds matrices of %s, which %s does not name", WeightsFile, named(l.Name), ConfigFile).
				Hinted("mend target_modules, exclude_modules or layers_to_transform there: PEFT would leave these matrices out")
		case is && !f.adapted[l.Name]:
			bare = append(bare, l.Name)
		}
	}
	if len(strangers) > 0 {
		return nil, f.refuse(slices.SortedFunc(maps.Keys(strangers), inLayers), linears)
	}
	warnings = slices.Clone(f.warnings)
	if n := len(bare); n > 0 {
		warnings = append(warnings, fmt.Sprintf("%s names %d linears of which %s holds no matrices, they stay as they are: %s.",
			path.Join(f.path, ConfigFile), n, WeightsFile, firstOf(bare)))
	}
	return warnings, nil
}

// targetsOf names the linears that have an adapter: by their modules where all of a module's have one.
func targetsOf(linears []*Linear) (targets []string) {
	partly := map[string]bool{}
	for _, l := range linears {
		if l.Rank == 0 {
			partly[l.module()] = true
		}
	}
	for _, l := range linears {
		if l.Rank == 0 {
			continue
		}
		name := l.module()
		if partly[name] {
			name = l.Name
		}
		if !slices.Contains(targets, name) {
			targets = append(targets, name)
		}
	}
	if len(partly) == 0 {
		return []string{allLinear}
	}
	slices.Sort(targets)
	return targets
}
