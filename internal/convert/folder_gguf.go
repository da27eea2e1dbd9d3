package convert

import (
	"encoding/json/jsontext"
	"encoding/json/v2"
	"fmt"
	"path"

	"qlora-wgpu/internal/model/spec"
	"qlora-wgpu/internal/pretrained"
	"qlora-wgpu/internal/processor"
	"qlora-wgpu/internal/safetensors"
)

// shardBytes is as much as transformers puts into a file of weights.
const shardBytes = 5e9

// typeOfGGUF is the type that a GGUF file's model is written in where nobody asks for one: that of its matrices, bf16
// where these are quantized.
func (w *Weights) typeOfGGUF(o Options) Type {
	if o.Type != "" {
		return o.Type
	}
	for _, t := range w.model.Spec.Tensors() {
		if t.Role == spec.Matrix {
			if to := typeOf(safetensors.DType(w.model.Type(t.Name))); stored[to].dtype == safetensors.DType(w.model.Type(t.Name)) {
				return to
			}
			break
		}
	}
	return BF16
}

// shardsGGUF are the files of weights of a model whose base is a GGUF file: all tensors in one type, under Hugging
// Face's names and in its order of rows.
func (w *Weights) shardsGGUF(o Options) (list []*shard) {
	to := w.typeOfGGUF(o)
	for _, t := range w.model.Spec.Tensors() {
		if len(list) == 0 || list[len(list)-1].size > 0 && list[len(list)-1].size+int64(t.Rows*t.Cols*to.size()) > shardBytes {
			list = append(list, &shard{})
		}
		s := list[len(list)-1]
		if o.NF4 != nil && t.Role == spec.Matrix {
			s.addNF4(w.Open(t.Name), t.Name, *o.NF4, to)
			continue
		}
		shape := []int{t.Rows, t.Cols}
		if t.Role == spec.Vector || t.Role == spec.Bias {
			shape = shape[1:]
		}
		s.head(t.Name, stored[to].dtype, shape)
		tensor := w.Open(t.Name)
		tensor.lessOne = t.Role == spec.Vector && w.model.Spec.NormPlusOne
		s.pieces = append(s.pieces, tensor.pieces(to)...)
	}
	for i, s := range list {
		if s.file = "model.safetensors"; len(list) > 1 {
			s.file = fmt.Sprintf("model-%05d-of-%05d.safetensors", i+1, len(list))
		}
	}
	return list
}

// besideGGUF are the files that say to transformers what a GGUF file's metadata say.
func (w *Weights) besideGGUF(o Options) (files map[string][]byte, err error) {
	files = map[string][]byte{}
	if files[configFile], files["generation_config.json"], err = w.model.ConfigJSON(stored[w.typeOfGGUF(o)].torch); err != nil {
		return nil, err
	}
	if w.model.CheckTokenizer() != nil {
		return files, nil
	}
	source := w.model.Tokenizer()
	if files["tokenizer.json"], err = processor.Vocabulary(source).JSON(w.model.Path()); err != nil {
		return nil, err
	}
	config := map[string]any{
		"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": w.model.Spec.MaxPositions, "clean_up_tokenization_spaces": false,
	}
	for purpose, token := range source.Named {
		config[purpose] = token
	}
	for name, text := range source.Templates {
		file := "chat_template.jinja"
		if name != pretrained.DefaultTemplate {
			file = path.Join(pretrained.TemplatesFolder, name+".jinja")
		}
		files[file] = []byte(text)
	}
	files["tokenizer_config.json"], err = json.Marshal(config, json.Deterministic(true), jsontext.WithIndent("  "))
	return files, err
}
