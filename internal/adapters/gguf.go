package adapters

import (
	"cmp"
	"errors"
	"io"
	"strings"

	"qlora-wgpu/internal/gguf"
	"qlora-wgpu/internal/model/spec"
	"qlora-wgpu/internal/usererr"
	"qlora-wgpu/lora"
)

// Keys of a GGUF adapter's metadata, and the values of the first two.
const (
	keyType         = "general.type"
	keyAdapterType  = "adapter.type"
	keyArchitecture = "general.architecture"
	keyAlpha        = "adapter.lora.alpha"
	keyInvocation   = "adapter.alora.invocation_tokens"
	keyBases        = "general.base_model.count"
	keyBaseName     = "general.base_model.0.name"
	keyBaseURL      = "general.base_model.0.repo_url"
	typeAdapter     = "adapter"
	typeLoRA        = "lora"
)

// fromPEFT is the way out of what only PEFT can say.
const fromPEFT = "merge the adapter into its model, or take it in PEFT's format"

// readGGUF reads a GGUF LoRA.
func readGGUF(r io.ReaderAt, size int64, name string) (*Adapter, error) {
	if size > maxWeights {
		return nil, usererr.New(opLoad, name, "%d bytes, more than %d", size, int64(maxWeights)).Of(usererr.Format)
	}
	f, err := gguf.Read(r, size, name)
	if err != nil {
		return nil, err
	}
	a := &Adapter{pairs: pairs{}, origin: lora.Origin{Path: name}, anyClass: true}
	architecture, alpha, err := a.describe(f)
	if err != nil {
		return nil, err
	}
	total := int64(0)
	for _, t := range f.Tensors() {
		m := matrix{rows: t.Rows(), cols: t.Cols()}
		if total += 4 * int64(m.rows) * int64(m.cols); total > maxWeights {
			return nil, usererr.New(opLoad, name, "its matrices take more than %d bytes", int64(maxWeights)).Of(usererr.Format)
		}
		if len(t.Shape) != 2 || !isMatrix(t.Name) {
			return nil, usererr.New(opLoad, name, "tensor %s of shape %v", t.Name, t.Shape).Of(usererr.Unsupported).
				Hinted("only LoRA matrices of linears can be loaded, NAME%s and NAME%s: %s", suffixA, suffixB, fromPEFT)
		}
		m.values = make([]float32, m.rows*m.cols)
		if err := f.ReadFloat32(t, m.values, 0, m.rows); err != nil {
			return nil, err
		}
		if err := a.pairs.add(name, t.Name, m, []string{"token_embd.weight", "output.weight"}, fromPEFT); err != nil {
			return nil, err
		}
	}
	if err := a.pairs.complete(name); err != nil {
		return nil, err
	}
	a.scale = func(rank int) float32 { return ggufScale(alpha, rank) }
	a.places = func(s spec.Spec) ([]place, error) {
		places, wanted := inGGUF(s)
		if wanted != architecture {
			return nil, usererr.New(opLoad, name, "it is for the architecture %s, the model's is %s", architecture, wanted).
				Hinted("the adapter belongs to another model")
		}
		return places, a.fit(places)
	}
	return a, nil
}

// ggufScale is llama.cpp's factor of a product.
func ggufScale(alpha float32, rank int) float32 {
	if alpha == 0 {
		return 1
	}
	return alpha / float32(rank)
}

// describe reads the metadata.
func (a *Adapter) describe(f *gguf.File) (architecture string, alpha float32, err error) {
	kind, _, err := f.String(keyType)
	method, _, err1 := f.String(keyAdapterType)
	architecture, _, err2 := f.String(keyArchitecture)
	wide, _, err3 := f.Float(keyAlpha)
	url, _, err4 := f.String(keyBaseURL)
	base, _, err5 := f.String(keyBaseName)
	tokens, _, err6 := f.Ints(keyInvocation)
	if err := errors.Join(err, err1, err2, err3, err4, err5, err6); err != nil {
		return "", 0, cmp.Or(err, err1, err2, err3, err4, err5, err6)
	}
	path := a.origin.Path
	a.origin.Base = cmp.Or(strings.TrimPrefix(url, huggingFace), base)
	switch {
	case kind == "" || kind == "model":
		err = usererr.New(opLoad, path, "it is a model and no adapter").
			Hinted("give it as --model; convert_lora_to_gguf.py of llama.cpp makes an adapter of PEFT's")
	case kind != typeAdapter:
		err = usererr.New(opLoad, path, "it is no adapter: %s is %q", keyType, kind).Of(usererr.Unsupported)
	case method != typeLoRA:
		err = usererr.New(opLoad, path, "%s is %q", keyAdapterType, method).Of(usererr.Unsupported).Hinted("lora is known")
	case len(tokens) > 0:
		err = usererr.New(opLoad, path, "%s: the adapter applies only behind these tokens (Activated LoRA)", keyInvocation).
			Of(usererr.Unsupported).Hinted("such adapters cannot be merged either")
	case float64(float32(wide)) != wide || wide < 0:
		err = usererr.New(opLoad, path, "%s is %g, it must be positive, and a float32", keyAlpha, wide).Of(usererr.Format)
	}
	return architecture, float32(wide), err
}

// huggingFace is where repositories of the hub are.
const huggingFace = "https://huggingface.co/"
