package convert

import (
	"context"
	"io"
	"path"

	"qlora-wgpu/internal/checkpoint"
	"qlora-wgpu/internal/events"
	"qlora-wgpu/internal/model/spec"
	"qlora-wgpu/internal/pretrained"
	"qlora-wgpu/internal/safetensors"
	"qlora-wgpu/internal/usererr"
)

// Options say how a model is written.
type Options struct {
	Type Type              // of all tensors of floats; empty: that of the files, bf16 where these hold 4 bits
	NF4  *spec.Quantized   // how the linears of the layers are written; nil: as they are
	Card []byte            // README.md
	Tell func(events.Part) // of the bytes that are written; nil: nobody wants to know
}

// WriteFolder writes the model as a Hugging Face folder that transformers loads as it loads that of the base: the same
// files of weights with the same names in them, what only images go through among them, config.json, and what lies
// beside. It appears under its name when all of it is written; before, and where that fails, there is nothing.
//
// Errors are *usererr.Error: a folder that is there and not empty, a disk that is too full, values that the type cannot
// hold; and those of reading, of writing, and ctx's.
func (w *Weights) WriteFolder(ctx context.Context, out checkpoint.Store, dir string, o Options) error {
	if o.NF4 != nil && w.model.Spec.Quantized != nil {
		return usererr.New(op, dir, "the model's files hold 4 bits already").Hinted("take the model with its original weights")
	}
	shards, err := w.shards(o)
	if err != nil {
		return err
	}
	beside, err := w.beside(o)
	if err != nil {
		return err
	}
	if beside["README.md"] = o.Card; len(o.Card) == 0 {
		delete(beside, "README.md")
	}
	total, places := int64(0), map[string]string{}
	for _, s := range shards {
		total += s.size
		for _, t := range s.tensors {
			places[t.Name] = s.file
		}
	}
	if len(shards) > 1 || shards[0].file != "model.safetensors" {
		if beside["model.safetensors.index.json"], err = indexOf(total, places); err != nil {
			return err
		}
	}
	return PublishFolder(out, dir, total, func(temporary string) error {
		meter := events.NewMeter(total, func(p events.Part) {
			if o.Tell != nil {
				o.Tell(p)
			}
		})
		defer meter.End()
		for _, s := range shards {
			err := checkpoint.WriteFile(out, path.Join(temporary, s.file), func(f io.Writer) error { return s.write(ctx, f, meter) })
			if err != nil {
				return err
			}
		}
		for name, data := range beside {
			if folder := path.Dir(name); folder != "." {
				if err := out.MakeDir(path.Join(temporary, folder)); err != nil {
					return err
				}
			}
			if err := checkpoint.WriteBytes(out, path.Join(temporary, name), data); err != nil {
				return err
			}
		}
		return nil
	})
}

// shard is a file of weights to write.
type shard struct {
	file    string
	tensors []safetensors.Tensor
	pieces  []piece
	size    int64
}

// beside are the small files.
func (w *Weights) beside(o Options) (files map[string][]byte, err error) {
	config := w.model.Config()
	if w.IsFolder() {
		files, err = w.model.Beside()
	} else if files, err = w.besideGGUF(o); err == nil {
		config = files[configFile]
	}
	if err != nil {
		return nil, err
	}
	if files[configFile], err = w.config(config, o); err != nil {
		return nil, usererr.New(op, configFile, "%w", err)
	}
	return files, nil
}

const configFile = "config.json"

// shards are the files.
func (w *Weights) shards(o Options) (list []*shard, err error) {
	if !w.IsFolder() {
		return w.shardsGGUF(o), nil
	}
	tensors, err := w.model.Stored()
	if err != nil {
		return nil, err
	}
	for _, t := range tensors {
		if len(list) == 0 || list[len(list)-1].file != t.File {
			list = append(list, &shard{file: t.File})
		}
		list[len(list)-1].add(w, t, o)
	}
	return list, nil
}

// add adds a tensor: computed where adapters or training change it, converted where its type changes, else as it is.
func (s *shard) add(w *Weights, t pretrained.Stored, o Options) {
	from, to := safetensors.DType(t.Type), o.Type
	if role, known := w.roles[t.Plain]; o.NF4 != nil && known && role == spec.Matrix {
		if to == "" {
			to = typeOf(from)
		}
		s.addNF4(w.Open(t.Plain), t.Name, *o.NF4, to)
		return
	}
	fourBit, dtype := t.Type == pretrained.NF4Type, from
	computed := t.Plain != "" && (fourBit || w.Changed(t.Plain))
	switch {
	case to != "" && (fourBit || from.Floats()):
		dtype = stored[to].dtype
	case fourBit:
		to = w.configType()
		dtype = stored[to].dtype
	case computed:
		to = typeOf(from)
		dtype = stored[to].dtype
	}
	elements := 1
	for _, n := range t.Shape {
		elements *= n
	}
	s.head(t.Name, dtype, t.Shape)
	switch {
	case computed:
		s.pieces = append(s.pieces, w.Open(t.Plain).pieces(to)...)
	case dtype == from:
		s.pieces = append(s.pieces, copied(t)...)
	default:
		s.pieces = append(s.pieces, converted(t, elements, to)...)
	}
}

// head adds a tensor to the header.
func (s *shard) head(name string, dtype safetensors.DType, shape []int) {
	size := int64(dtype.Size())
	for _, n := range shape {
		size *= int64(n)
	}
	s.tensors = append(s.tensors, safetensors.Tensor{Name: name, DType: dtype, Shape: shape})
	s.size += size
}

// write writes the file, whose bytes the meter counts.
func (s *shard) write(ctx context.Context, f io.Writer, meter *events.Meter) error {
	if err := safetensors.WriteHeader(f, map[string]string{"format": "pt"}, s.tensors); err != nil {
		return err
	}
	return inOrder(ctx, s.pieces, func(data []byte) error {
		_, err := f.Write(data)
		meter.Add(int64(len(data)))
		return err
	})
}

// pieces are the bytes of a tensor that is computed.
func (t *Tensor) pieces(to Type) (list []piece) {
	most := max(1, pieceElements/t.Cols)
	for first := 0; first < t.Rows; first += most {
		n := min(most, t.Rows-first)
		list = append(list, func() ([]byte, error) {
			values, data := make([]float64, n*t.Cols), make([]byte, n*t.Cols*to.size())
			if err := t.Read(first, n, values); err != nil {
				return nil, err
			}
			return data, t.put(data, to, first, values)
		})
	}
	return list
}

// copied are the bytes of a tensor that stays as it is.
func copied(t pretrained.Stored) (list []piece) {
	const most = 1 << 20
	for at := int64(0); at < t.Size; at += most {
		list = append(list, func() ([]byte, error) {
			data := make([]byte, min(most, t.Size-at))
			return data, t.ReadBytes(data, at)
		})
	}
	return list
}

// converted are the bytes of a tensor that gets another type.
func converted(t pretrained.Stored, elements int, to Type) (list []piece) {
	from := safetensors.DType(t.Type)
	whole := &Tensor{Name: t.Name, Rows: 1, Cols: elements}
	for first := 0; first < elements; first += pieceElements {
		n := min(pieceElements, elements-first)
		list = append(list, func() ([]byte, error) {
			raw, x := make([]byte, n*from.Size()), make([]float32, n)
			if err := t.ReadBytes(raw, int64(first*from.Size())); err != nil {
				return nil, err
			}
			from.Float32s(x, raw)
			values, data := make([]float64, n), make([]byte, n*to.size())
			for i, v := range x {
				values[i] = float64(v)
			}
			return data, whole.put(data, to, 0, values)
		})
	}
	return list
}

// typeOf is the type that computed values of a file's type are written in.
func typeOf(d safetensors.DType) Type {
	for t, as := range stored {
		if as.dtype == d {
			return t
		}
	}
	return F32 // of 64 and of 8 bits
}

// configType is that of a model in 4 bits, by its configuration.
func (w *Weights) configType() Type {
	for t, as := range stored {
		if as.torch == w.model.ConfigType() {
			return t
		}
	}
	return BF16
}

// config is config.json with the type that was asked for, and of quantization what is written.
func (w *Weights) config(config []byte, o Options) ([]byte, error) {
	values := map[string][]byte{"quantization_config": nil}
	if o.Type != "" {
		for _, key := range pretrained.TypeKeys {
			values[key] = []byte(`"` + stored[o.Type].torch + `"`)
		}
	}
	if o.NF4 != nil {
		var err error
		if values["quantization_config"], err = w.quantizationConfig(o); err != nil {
			return nil, err
		}
	}
	return pretrained.EditConfig(config, values)
}
