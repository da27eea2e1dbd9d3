package lora

import (
	"bytes"
	"encoding/binary"
	"io/fs"
	"testing"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/checkpoint"
	"qlora-wgpu/internal/optim"
	"qlora-wgpu/internal/usererr"
)

// folder is an adapter's files without a disk. Only what opens files is there.
type folder struct {
	checkpoint.Store
	files map[string][]byte
}

func (f folder) Open(name string) (checkpoint.Reader, error) {
	content, ok := f.files[name]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return reader{bytes.NewReader(content)}, nil
}

type reader struct{ *bytes.Reader }

func (reader) Close() error { return nil }

// FuzzOpen attacks adapter_config.json and the header and data of adapter_model.safetensors, then lays what was read
// over a model of two linears.
func FuzzOpen(f *testing.F) {
	c := Config{Rank: 2, Alpha: 4, Targets: []string{"q_proj"}}
	var config, weights bytes.Buffer
	require.NoError(f, c.WriteConfig(&config, "base"))
	require.NoError(f, Config{}.WriteWeights(&weights, []Tensor{
		{Name: keyA(linears()[0]), Rows: 2, Cols: 64, Values: make([]float32, 128)},
		{Name: keyB(linears()[0]), Rows: 32, Cols: 2, Values: make([]float32, 64)},
	}))
	length := binary.LittleEndian.Uint64(weights.Bytes())
	header, data := string(weights.Bytes()[8:8+length]), weights.Bytes()[8+length:]
	f.Add(config.Bytes(), header, data)
	f.Add([]byte(`{"peft_type":"LORA","r":1,"lora_alpha":1e300,"target_modules":"all-linear","use_rslora":true,"rank_pattern":{"a":1}}`),
		header, data)
	f.Add([]byte(`{"peft_type":"LORA","r":1,"lora_alpha":1,"target_modules":".*q_proj","lora_dropout":0.5,"bias":"none"}`),
		`{"a.lora_A.weight":{"dtype":"BF16","shape":[1,2],"data_offsets":[0,4]}}`, []byte{0, 1, 2, 3})
	f.Add([]byte(`{"peft_type":"LORA","r":4,"lora_alpha":8,"target_modules":["q_proj",1],"layers_to_transform":[0],`+
		`"init_lora_weights":"pissa"}`),
		`{"a.lora_A.weight":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}`, []byte{0, 0, 192, 127})
	dev := gpu.NewDry(gpu.Options{})
	f.Fuzz(func(t *testing.T, config []byte, header string, data []byte) {
		weights := append(append(binary.LittleEndian.AppendUint64(nil, uint64(len(header))), header...), data...)
		files, err := Open(folder{files: map[string][]byte{"a/" + ConfigFile: config, "a/" + WeightsFile: weights}}, "a")
		if err != nil {
			require.IsType(t, &usererr.Error{}, err)
			return
		}
		c := files.Config
		require.Positive(t, c.Rank)
		for _, tensor := range files.Tensors {
			require.Len(t, tensor.Values, tensor.Rows*tensor.Cols)
		}
		adapter, err := Attach(dev, linears(), c, optim.Options{})
		if err == nil {
			err = adapter.SetTensors(files.Tensors, files.Path)
			adapter.Detach()
		}
		if err != nil {
			require.IsType(t, &usererr.Error{}, err)
		}
	})
}
