package adapters

import (
	"encoding/json/jsontext"
	"encoding/json/v2"
	"math"
	"path"
	"slices"
	"strconv"
	"strings"

	"qlora-wgpu/internal/checkpoint"
	"qlora-wgpu/internal/model/spec"
	"qlora-wgpu/internal/safetensors"
	"qlora-wgpu/internal/usererr"
	"qlora-wgpu/lora"
)

// mlxWeights are the matrices of an MLX adapter; beside them lies an adapter_config.json.
const mlxWeights = "adapters.safetensors"

// fuse is the way out of what MLX can do and this program cannot.
const fuse = "mlx_lm.fuse writes a model with it, and that loads"

// mlxConfig is adapter_config.json as MLX reads it. mlx-lm writes all settings of its training there.
type mlxConfig struct {
	FineTuneType string         `json:"fine_tune_type"`
	NumLayers    *int           `json:"num_layers,omitzero"` // the last ones; below 1: all
	Parameters   *mlxParameters `json:"lora_parameters"`
	Model        jsontext.Value `json:"model,omitzero"` // a path or a name
}

type mlxParameters struct {
	Rank    int      `json:"rank"`
	Scale   *float64 `json:"scale"`
	Dropout float64  `json:"dropout"`
	// Keys are linears by their names within a layer, or whole; nil: all of the layers
	Keys []string `json:"keys,omitzero"`
}

// openMLX reads the MLX adapter in a folder, whose adapter_config.json is given.
func openMLX(s checkpoint.Store, dir string, text []byte) (*Adapter, error) {
	config, err := readMLXConfig(text, path.Join(dir, lora.ConfigFile))
	if err != nil {
		return nil, err
	}
	name := path.Join(dir, mlxWeights)
	file, err := s.Open(name)
	if err != nil {
		return nil, usererr.New(opLoad, name, "%w", err).
			Hinted("mlx_lm.lora writes it; an adapters.npz of its first versions has to be trained anew, or fused there")
	}
	defer file.Close()
	if file.Size() > maxWeights {
		return nil, usererr.New(opLoad, name, "%d bytes, more than %d", file.Size(), int64(maxWeights)).Of(usererr.Format)
	}
	f, err := safetensors.Read(file, file.Size(), name)
	if err != nil {
		return nil, err
	}
	a := &Adapter{pairs: pairs{}, origin: lora.Origin{Path: name, Dropout: config.Parameters.Dropout}}
	if config.Model.Kind() == '"' {
		_ = json.Unmarshal(config.Model, &a.origin.Base) // a string
	}
	wrapped := 0
	for _, t := range f.Tensors() {
		if len(t.Shape) != 2 || !isMatrix(t.Name) {
			return nil, usererr.New(opLoad, name, "tensor %s of shape %v", t.Name, t.Shape).Of(usererr.Unsupported).
				Hinted("only LoRA matrices of linears can be loaded: %s", fuse)
		}
		m := matrix{t.Shape[0], t.Shape[1], make([]float32, t.Elements())}
		if err := f.ReadFloat32(t, m.values, 0); err != nil {
			return nil, err
		}
		if strings.HasPrefix(t.Name, mlxWrapped) {
			wrapped++
		}
		err := a.pairs.add(name, strings.TrimPrefix(t.Name, mlxWrapped), m.transposed(), []string{spec.Embedding, spec.Head}, fuse)
		if err != nil {
			return nil, err
		}
	}
	if wrapped > 0 {
		if a.origin.Within = lora.Wrapped; wrapped < len(f.Tensors()) {
			return nil, usererr.New(opLoad, name, "%d of its %d names begin with %s, the others not", wrapped, len(f.Tensors()), mlxWrapped).
				Of(usererr.Format)
		}
	}
	if err := a.pairs.complete(name); err != nil {
		return nil, err
	}
	if err := a.checkRank(config.Parameters.Rank, path.Join(dir, lora.ConfigFile)); err != nil {
		return nil, err
	}
	a.trim()
	a.scale = func(int) float32 { return float32(*config.Parameters.Scale) }
	a.places = func(s spec.Spec) ([]place, error) {
		s.Wrapper = "" // names are without what wraps them
		places := inMLX(s)
		if err := a.fit(places); err != nil {
			return nil, err
		}
		return places, a.checkNamed(config, len(s.Layers), path.Join(dir, lora.ConfigFile))
	}
	return a, nil
}

// readMLXConfig reads adapter_config.json; what has no default has a value then.
func readMLXConfig(text []byte, name string) (c mlxConfig, err error) {
	c.FineTuneType = typeLoRA
	if err := json.Unmarshal(text, &c); err != nil {
		return c, usererr.New("read adapter config", name, "%w", err).Of(usererr.Format)
	}
	refuse := func(kind usererr.Kind, hint, format string, args ...any) error {
		return usererr.New("read adapter config", name, format, args...).Of(kind).Hinted("%s", hint)
	}
	switch p := c.Parameters; {
	case c.FineTuneType == "full":
		return c, refuse(usererr.Unsupported, fuse, "fine_tune_type is full: it holds whole weights, and is no adapter")
	case c.FineTuneType == "dora":
		return c, refuse(usererr.Unsupported, fuse, "fine_tune_type is dora, which scales the rows of the sum of weight and adapter")
	case c.FineTuneType != typeLoRA:
		return c, refuse(usererr.Unsupported, "lora is known", "fine_tune_type is %q", c.FineTuneType)
	case p == nil:
		return c, refuse(usererr.Format, "mlx_lm.lora writes them", "lora_parameters are missing")
	case p.Scale == nil:
		return c, refuse(usererr.Format, "mlx-lm has no alpha: its scale is alpha divided by the rank", "lora_parameters has no scale")
	case !(*p.Scale > 0 && *p.Scale <= math.MaxFloat32) || float32(*p.Scale) == 0:
		return c, refuse(usererr.Format, "a float32", "lora_parameters.scale is %g, it must be positive", *p.Scale)
	case !(p.Dropout >= 0 && p.Dropout < 1):
		return c, refuse(usererr.Format, "0 will do", "lora_parameters.dropout is %g, it must be at least 0 and below 1", p.Dropout)
	}
	return c, nil
}

// checkRank wants the rank of the configuration of all matrices, as MLX does.
func (a *Adapter) checkRank(rank int, path string) error {
	for _, name := range a.pairs.names() {
		if both := a.pairs[name]; both.a.rows != rank {
			return usererr.New(opLoad, a.origin.Path, "the rank of %s is %d, %s says %d", name, both.a.rows, path, rank).Of(usererr.Format).
				Hinted("the two files belong to different adapters")
		}
	}
	return nil
}

// trim takes ranks off that are zero in both matrices: MLX has one rank for all linears, so that those of less are
// padded. Nothing can be learned there.
func (a *Adapter) trim() {
	for name, both := range a.pairs {
		rank := both.a.rows
		for rank > 1 && both.zero(rank-1) {
			rank--
		}
		if rank == both.a.rows {
			continue
		}
		b := matrix{both.b.rows, rank, make([]float32, 0, both.b.rows*rank)}
		for r := range b.rows {
			b.values = append(b.values, both.b.values[r*both.b.cols:][:rank]...)
		}
		a.pairs[name] = pair{&matrix{rank, both.a.cols, both.a.values[:rank*both.a.cols]}, &b}
	}
}

// zero tells whether a rank has neither a row of A nor a column of B.
func (p pair) zero(rank int) bool {
	for _, v := range p.a.values[rank*p.a.cols:][:p.a.cols] {
		if v != 0 {
			return false
		}
	}
	for r := range p.b.rows {
		if p.b.values[r*p.b.cols+rank] != 0 {
			return false
		}
	}
	return true
}

// checkNamed refuses matrices of linears that the configuration does not name, as MLX does.
func (a *Adapter) checkNamed(c mlxConfig, layers int, path string) error {
	first := 0
	if n := c.NumLayers; n != nil && *n > 0 {
		first = max(0, layers-*n)
	}
	for _, p := range a.pairs.names() {
		layer, within := inLayer(p)
		named := layer >= first && (c.Parameters.Keys == nil || slices.Contains(c.Parameters.Keys, within))
		if !named && !slices.Contains(c.Parameters.Keys, p) && !slices.Contains(c.Parameters.Keys, mlxWrapped+p) {
			return usererr.New(opLoad, a.origin.Path, "it holds matrices of %s, which %s does not name", p, path).Of(usererr.Format).
				Hinted("mend num_layers or lora_parameters.keys there")
		}
	}
	return nil
}

// inLayer splits a linear's name into the number of its layer and its name there.
func inLayer(name string) (layer int, within string) {
	number, within, _ := strings.Cut(strings.TrimPrefix(name, mlxLayers), ".")
	layer, _ = strconv.Atoi(number) // of a name that is in the model
	return layer, within
}

// mlxLayers is what names of linears begin with.
const mlxLayers = "model.layers."
