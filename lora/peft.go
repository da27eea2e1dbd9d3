package lora

import (
	"io"
	"maps"
	"slices"
	"strings"

	"qlora-wgpu/internal/safetensors"
	"qlora-wgpu/internal/usererr"
)

// The files of a PEFT adapter.
const (
	ConfigFile  = "adapter_config.json"
	WeightsFile = "adapter_model.safetensors"
)

func writeWeights(w io.Writer, tensors []Tensor) error {
	byName := map[string]Tensor{}
	for _, t := range tensors {
		byName[t.Name] = t
	}
	var data []safetensors.Data
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		t := byName[name]
		data = append(data, safetensors.Data{
			Name: name, DType: safetensors.F32, Shape: []int{t.Rows, t.Cols}, Bytes: safetensors.Float32Bytes(t.Values),
		})
	}
	return safetensors.Write(w, map[string]string{"format": "pt"}, data)
}

// ReadWeights reads adapter_model.safetensors, of size bytes; path names it in errors. Names are those of the language
// model's own class, whatever class the adapter is for. Errors are *usererr.Error: Format for a damaged file,
// Unsupported for a tensor that is no LoRA matrix [rows, columns] of a linear.
func ReadWeights(r io.ReaderAt, size int64, path string) ([]Tensor, error) {
	w, err := readWeights(r, size, path)
	return w.tensors, err
}

// weights are what adapter_model.safetensors holds.
type weights struct {
	tensors []Tensor
	within  string // Config.Within
	encoder int    // how many matrices of what only images go through there are beside the tensors
}

func readWeights(r io.ReaderAt, size int64, path string) (out weights, err error) {
	f, err := safetensors.Read(r, size, path)
	if err != nil {
		return out, err
	}
	for i, t := range f.Tensors() {
		name := strings.TrimPrefix(t.Name, keyPrefix)
		if ofEncoder(name) && strings.Contains(name, ".lora_") {
			out.encoder++
			continue
		}
		if _, _, ok := splitKey(t.Name); !ok || len(t.Shape) != 2 {
			return out, usererr.New("load adapter", path, "tensor %s of shape %v", t.Name, t.Shape).Of(usererr.Unsupported).
				Hinted("%s", wayOut(t.Name))
		}
		values := make([]float32, t.Elements())
		if err := f.ReadFloat32(t, values, 0); err != nil {
			return out, err
		}
		plain, within := unwrapped(name)
		if len(out.tensors) > 0 && within != out.within {
			return out, usererr.New("load adapter", path, "tensor %d, %s, has a name of another class than those before it", i, t.Name).
				Of(usererr.Format).Hinted("an adapter belongs to one class of transformers: " + keyPrefix + alone + "layers…, or " +
				keyPrefix + Wrapped + "layers… beside an encoder of images")
		}
		out.within = within
		out.tensors = append(out.tensors, Tensor{Name: keyPrefix + plain, Rows: t.Shape[0], Cols: t.Shape[1], Values: values})
	}
	return out, nil
}

// PEFT's names of an adapter's tensors.
const (
	keyPrefix  = "base_model.model."
	keySuffixA = ".lora_A.weight"
	keySuffixB = ".lora_B.weight"
)

func keyA(l *Linear) string { return keyPrefix + l.Name + keySuffixA }
func keyB(l *Linear) string { return keyPrefix + l.Name + keySuffixB }

// splitKey gives the linear of a tensor's name, and whether the tensor is A.
func splitKey(name string) (linear string, isA, ok bool) {
	rest, ok := strings.CutPrefix(name, keyPrefix)
	if !ok {
		return "", false, false
	}
	if linear, isA = strings.CutSuffix(rest, keySuffixA); isA {
		return linear, true, true
	}
	linear, ok = strings.CutSuffix(rest, keySuffixB)
	return linear, false, ok
}

// wayOut is what to do about a tensor that is no matrix of a linear.
func wayOut(name string) string {
	if strings.Contains(name, ".lora_A.") || strings.Contains(name, ".lora_B.") {
		return "names as PEFT's save_pretrained writes them were wanted: " + keyPrefix + "…" + keySuffixA
	}
	if strings.Contains(name, ".lora_embedding_") {
		return "only linears can have an adapter, target_modules names an embedding: " + merge
	}
	return "only LoRA matrices of linears can be loaded: " + merge
}
