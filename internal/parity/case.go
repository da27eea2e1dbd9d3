package parity

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"

	"qlora-wgpu/doublequant"
	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/engine"
	"qlora-wgpu/internal/frozen"
	"qlora-wgpu/internal/model"
	"qlora-wgpu/internal/pretrained"
	"qlora-wgpu/internal/safetensors"
	"qlora-wgpu/internal/settings"
	"qlora-wgpu/nf4"
	"qlora-wgpu/paging"
)

// Files opens the files of a case's folder.
type Files interface {
	Open(name string) (pretrained.File, error)
}

// Case is case.json.
type Case struct {
	Rank         int       `json:"rank"`
	Alpha        float64   `json:"lora_alpha"`
	LearningRate float64   `json:"learning_rate"`
	Betas        []float64 `json:"betas"`
	Eps          float64   `json:"eps"`
	WeightDecay  float64   `json:"weight_decay"`
	MaxGradNorm  float64   `json:"max_grad_norm"`
	Steps        [][]struct {
		InputIDs []uint32 `json:"input_ids"`
		Labels   []int32  `json:"labels"`
	} `json:"steps"`
	Loss      []float64 `json:"loss"`
	GradNorm  []float64 `json:"grad_norm_before_clip"`
	Quantized map[string]struct {
		Shape        []int   `json:"shape"`
		Packed       string  `json:"packed"`
		Absmax       string  `json:"absmax"`
		NestedAbsmax string  `json:"nested_absmax"`
		Offset       float64 `json:"offset"`
		Dequantized  string  `json:"dequantized"`
	} `json:"quantized"`
	// Quantization is "none" where the base is not quantized. Frozen has the SHA-256 of the bytes of each linear's
	// weight then.
	Quantization string            `json:"quantization"`
	Frozen       map[string]string `json:"frozen"`
}

// formats are those of the case's linears.
func (c Case) formats(source *pretrained.Model) frozen.Formats {
	q := settings.Quantization{Quantize: settings.QuantizedNF4, BlockSize: blockSize}
	if c.Quantization == settings.Unquantized {
		q.Quantize = settings.Unquantized
	}
	return engine.FormatsOf(source.Spec, q)
}

// blockSize of the cases.
const blockSize = 64

// Read reads case.json.
func Read(files Files) (c Case, err error) {
	data, err := readAll(files, "case.json")
	if err == nil {
		err = json.Unmarshal(data, &c)
	}
	return c, err
}

func readAll(files Files, name string) ([]byte, error) {
	f, err := files.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data := make([]byte, f.Size())
	_, err = io.ReadFull(io.NewSectionReader(f, 0, f.Size()), data)
	return data, err
}

func readTensors(files Files, name string) (map[string][]float32, error) {
	f, err := files.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	file, err := safetensors.Read(f, f.Size(), name)
	if err != nil {
		return nil, err
	}
	out := map[string][]float32{}
	for _, t := range file.Tensors() {
		values := make([]float32, t.Elements())
		if err := file.ReadFloat32(t, values, 0); err != nil {
			return nil, err
		}
		out[t.Name] = values
	}
	return out, nil
}

func hash(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// CheckFrozen compares the fingerprints of every frozen weight exactly.
func (c Case) CheckFrozen(source *pretrained.Model) error {
	if len(c.Quantized)+len(c.Frozen) == 0 {
		return fmt.Errorf("the case names no frozen tensor")
	}
	for name, want := range c.Frozen {
		t, _ := source.Lookup(name)
		values := make([]float32, t.Rows*t.Cols)
		if err := source.ReadRows(name, 0, t.Rows, values); err != nil {
			return err
		}
		layout := paging.NewLayout(frozen.BFloat16, gpu.ShardBytes)
		layout.AddLinear(name, frozen.BFloat16, t.Rows, t.Cols, false)
		parts := layout.NewParts()
		layout.Writer(parts, name).Rows(0, values)
		if got := hash(parts[0][:gpu.BF16.Size(len(values))]); got != want {
			return fmt.Errorf("%s: its bytes differ: %s, want %s", name, got, want)
		}
	}
	for name, want := range c.Quantized {
		got, err := held(source, name, want.Shape[0]*want.Shape[1], want.Shape[0])
		if err != nil {
			return err
		}
		for i, w := range []string{want.Packed, want.Absmax, want.NestedAbsmax, fmt.Sprint(want.Offset), want.Dequantized} {
			if got[i] != w {
				return fmt.Errorf("%s: %s differs: %s, want %s", name,
					[]string{"packed", "absmax", "nested_absmax", "offset", "dequantized"}[i], got[i], w)
			}
		}
	}
	return nil
}

// held has the fingerprints of a matrix of n elements: as the files hold it in 4 bits, or as loading makes it.
func held(source *pretrained.Model, name string, n, rows int) ([]string, error) {
	values := make([]float32, n)
	if err := source.ReadRows(name, 0, rows, values); err != nil {
		return nil, err
	}
	packed := make([]byte, nf4.PackedLen(n))
	if stored := source.Quantized(name); stored != nil {
		if err := stored.ReadCodes(0, packed); err != nil {
			return nil, err
		}
		state, absmax, err := stored.ReadAbsmax()
		if err != nil || state == nil {
			return []string{hash(packed), hash(gpu.Float32Bytes(absmax)), "", "0", hash(gpu.Float32Bytes(values))}, err
		}
		return fingerprints(packed, *state, values), nil
	}
	absmax := make([]float32, nf4.Blocks(n, blockSize))
	nf4.QuantizeParallel(values, blockSize, packed, absmax)
	state := doublequant.Quantize(absmax)
	state.Dequantize(absmax)
	nf4.Dequantize(packed, absmax, blockSize, values)
	return fingerprints(packed, state, values), nil
}

func fingerprints(packed []byte, state doublequant.State, values []float32) []string {
	return []string{
		hash(packed), hash(state.Codes), hash(gpu.Float32Bytes(state.Nested)), fmt.Sprint(float64(state.Offset)), hash(gpu.Float32Bytes(values)),
	}
}

func (c Case) window(step int) (window []model.Input) {
	for _, micro := range c.Steps[step] {
		in := model.Input{IDs: micro.InputIDs}
		for i := range micro.InputIDs {
			in.Positions, in.FirstKey = append(in.Positions, uint32(i)), append(in.FirstKey, 0)
			target := int32(-100)
			if i+1 < len(micro.Labels) {
				target = micro.Labels[i+1]
			}
			in.Targets = append(in.Targets, target)
		}
		window = append(window, in)
	}
	return window
}
