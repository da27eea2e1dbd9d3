// Package adapters reads and writes LoRA adapters in three formats: PEFT's folder, MLX's folder, and llama.cpp's GGUF
// file. Read, all are a lora.Files, in Hugging Face's names and order of rows. Sources: convert_lora_to_gguf.py and
// llama-adapter.cpp of llama.cpp; tuner/utils.py and tuner/lora.py of mlx-lm 0.32.
package adapters

import (
	"encoding/json/jsontext"
	"encoding/json/v2"
	"path"

	"qlora-wgpu/internal/checkpoint"
	"qlora-wgpu/internal/gguf"
	"qlora-wgpu/internal/model/spec"
	"qlora-wgpu/internal/usererr"
	"qlora-wgpu/lora"
)

const (
	opLoad  = "load adapter"
	opWrite = "write adapter"
)

// Bytes of an adapter's files, as lora bounds PEFT's.
const (
	maxConfig  = 16 << 20
	maxWeights = 16 << 30
)

// Adapter is one that is read, before it is known what model it goes over: other formats than PEFT's have names, and
// orders of rows, that only the model's description explains.
type Adapter struct {
	peft *lora.Files
	// of the other formats
	pairs    pairs
	origin   lora.Origin
	anyClass bool // names do not tell whether the model reads images
	scale    func(rank int) float32
	places   func(spec.Spec) ([]place, error) // with what has to agree checked
}

// Open reads an adapter, whose format its files tell: a folder with PEFT's or MLX's adapter_config.json, or a GGUF
// file. Errors are *usererr.Error: what is missing, damaged, no adapter, or asks for what this program does not do.
func Open(s checkpoint.Store, name string) (*Adapter, error) {
	if f, err := s.Open(name); err == nil {
		defer f.Close()
		return readFile(f, name)
	}
	if text, err := checkpoint.ReadBytes(s, path.Join(name, lora.ConfigFile), maxConfig); err == nil && ofMLX(text) {
		return openMLX(s, name, text)
	}
	files, err := lora.Open(s, name)
	return &Adapter{peft: files}, err
}

// readFile reads an adapter of one file.
func readFile(f checkpoint.Reader, name string) (*Adapter, error) {
	var magic [len(gguf.Magic)]byte
	if _, err := f.ReadAt(magic[:], 0); err != nil || string(magic[:]) != gguf.Magic {
		return nil, usererr.New(opLoad, name, "the file is no GGUF").Of(usererr.Format).
			Hinted("an adapter is a GGUF file, or a folder with %s and %s (PEFT) or %s (MLX)", lora.ConfigFile, lora.WeightsFile, mlxWeights)
	}
	return readGGUF(f, f.Size(), name)
}

// ofMLX tells by its keys whether an adapter_config.json is MLX's.
func ofMLX(config []byte) bool {
	var keys map[string]jsontext.Value
	if json.Unmarshal(config, &keys) != nil || keys["peft_type"] != nil {
		return false
	}
	return keys["lora_parameters"] != nil || keys["fine_tune_type"] != nil
}

// For is the adapter in the names of a model. Errors are *usererr.Error: of an adapter of another model, with the name
// or the shape that differs. (Of PEFT's format that is for lora.Attach and Files.Products to say.)
func (a *Adapter) For(s spec.Spec) (*lora.Files, error) {
	if a.peft != nil {
		return a.peft, nil
	}
	places, err := a.places(s)
	if err != nil {
		return nil, err
	}
	origin := a.origin
	if a.anyClass && s.Wrapper != "" {
		origin.Within = lora.Wrapped
	}
	return lora.Assemble(origin, a.products(places))
}
