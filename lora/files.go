package lora

import (
	"path"

	"qlora-wgpu/internal/checkpoint"
	"qlora-wgpu/internal/usererr"
)

// Files is a PEFT adapter as read from its folder.
type Files struct {
	Path    string
	Config  Config
	Tensors []Tensor
}

// Open reads the PEFT adapter in a folder of the store. Errors are *usererr.Error: a file that is missing or damaged,
// or asks for what this program does not do.
func Open(s checkpoint.Store, dir string) (*Files, error) {
	name := path.Join(dir, ConfigFile)
	text, err := checkpoint.ReadBytes(s, name)
	if err != nil {
		return nil, usererr.New("load adapter", name, "%w", err).
			Hinted("an adapter is a folder with %s and %s", ConfigFile, WeightsFile)
	}
	f := &Files{Path: dir}
	if f.Config, err = ReadConfig(text, name); err != nil {
		return nil, err
	}
	name = path.Join(dir, WeightsFile)
	weights, err := s.Open(name)
	if err != nil {
		return nil, usererr.New("load adapter", name, "%w", err)
	}
	defer weights.Close()
	f.Tensors, err = ReadWeights(weights, weights.Size(), name)
	return f, err
}
