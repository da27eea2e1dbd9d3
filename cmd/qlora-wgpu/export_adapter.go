package main

import (
	"cmp"
	"encoding/json"
	"path"
	"path/filepath"
	"strings"

	"qlora-wgpu/internal/adapters"
	"qlora-wgpu/internal/checkpoint"
	"qlora-wgpu/internal/convert"
	"qlora-wgpu/internal/gguf"
	"qlora-wgpu/internal/host"
	"qlora-wgpu/internal/ollama"
	"qlora-wgpu/internal/pretrained"
	"qlora-wgpu/internal/settings"
)

// adapterTypes are the values of type that an adapter can have.
var adapterTypes = map[string]gguf.Type{settings.TypeAuto: gguf.F32, "f32": gguf.F32, "f16": gguf.F16, "bf16": gguf.BF16}

// exportAdapter writes adapters, added up, without their model, and prints the file or the folder. Of a model on the
// hub what describes it is enough, unless a Modelfile names it.
func exportAdapter(c *console, s settings.Export, asJSON bool) error {
	open := host.DescribeModel
	if s.Ollama {
		open = host.OpenModel
	}
	model, err := open(c.context, s.Model, c.logEvent)
	if err != nil {
		return err
	}
	defer model.Close()
	files, err := openAdapters(c, model.Spec, s.Adapters)
	if err != nil {
		return err
	}
	base := cmp.Or(model.Name, strings.TrimSuffix(filepath.Base(filepath.Clean(s.Model)), ".gguf"))
	sum, err := adapters.Add(model.Spec, base, files...)
	if err != nil {
		return err
	}
	for _, warning := range sum.Warnings {
		c.warn(warning)
	}
	to := outputs{Output: s.Output}
	if s.Format == settings.FormatMLX {
		err = writeMLX(sum, filepath.ToSlash(s.Output))
	} else {
		to.Modelfile, err = writeLoRA(c, sum, model, s)
	}
	if err == nil && asJSON {
		return json.NewEncoder(c.stdout).Encode(to)
	}
	if err = printed(c, to.Output, err); err == nil && to.Modelfile != "" {
		err = printed(c, to.Modelfile, nil)
	}
	return err
}

// writeMLX writes MLX's folder.
func writeMLX(sum *adapters.Sum, dir string) error {
	files, err := sum.MLX()
	if err != nil {
		return err
	}
	size := int64(0)
	for _, f := range files {
		size += f.Size
	}
	return convert.PublishFolder(checkpoint.Files{}, dir, size, func(temporary string) error {
		for name, f := range files {
			if err := checkpoint.WriteFile(checkpoint.Files{}, path.Join(temporary, name), f.Write); err != nil {
				return err
			}
		}
		return nil
	})
}

// writeLoRA writes a GGUF LoRA, and its Modelfile where one is asked for, whose path it gives.
func writeLoRA(c *console, sum *adapters.Sum, model *pretrained.Model, s settings.Export) (file string, err error) {
	lora, err := sum.GGUF(adapterTypes[s.Type])
	if err != nil {
		return "", err
	}
	var beside *modelfile
	if s.Ollama {
		folder := filepath.Dir(s.Output)
		from, err := filepath.Rel(folder, model.Path())
		if err != nil {
			from = model.Path()
		}
		if beside, err = newModelfile(c, model, folder, ollama.Options{From: from, Adapter: filepath.Base(s.Output)}); err != nil {
			return "", err
		}
	}
	if err := convert.PublishFile(checkpoint.Files{}, filepath.ToSlash(s.Output), lora.Size, lora.Write); err != nil {
		return "", err
	}
	return beside.path(), beside.write()
}
