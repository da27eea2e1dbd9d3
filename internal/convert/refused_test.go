package convert

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/internal/checkpoint"
	"qlora-wgpu/internal/reference/referencetest"
	"qlora-wgpu/internal/safetensors"
	"qlora-wgpu/internal/usererr"
	"qlora-wgpu/lora"
)

// full is a disk with so much room left, and one that is full after so many bytes whatever it says.
type full struct {
	checkpoint.Files
	says, room int64
}

func (f *full) Free(string) (int64, error) { return f.says, nil }

func (f *full) Create(name string) (checkpoint.Writer, error) {
	w, err := f.Files.Create(name)
	return &filling{w, f}, err
}

type filling struct {
	checkpoint.Writer
	disk *full
}

var errFull = errors.New("no space left on device")

func (f *filling) Write(p []byte) (int, error) {
	if f.disk.room -= int64(len(p)); f.disk.room < 0 {
		return 0, errFull
	}
	return f.Writer.Write(p)
}

// requireNothing wants a folder to be as it was: without the output, and without a part of it.
func requireNothing(t *testing.T, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if !errors.Is(err, fs.ErrNotExist) {
		require.NoError(t, err)
	}
	require.Empty(t, entries)
}

func TestWhatIsRefusedLeavesNothing(t *testing.T) {
	model, adapter, _ := caseOf(t, "granite4")
	w, _, err := New(model, []*lora.Files{adapter}, Base{})
	require.NoError(t, err)
	write := func(out checkpoint.Store, dir string, o Options) error {
		return w.WriteFolder(context.Background(), out, filepath.ToSlash(dir), o)
	}
	parent := t.TempDir()

	err = write(&full{says: 1 << 20}, filepath.Join(parent, "m"), Options{})
	require.ErrorContains(t, err, "the disk is too full: 67.1 MB are needed, 1.0 MB are free")
	requireNothing(t, parent)
	for _, room := range []int64{0, 100, 20_000} {
		err = write(&full{says: -1, room: room}, filepath.Join(parent, "m"), Options{})
		require.ErrorIs(t, err, errFull)
		requireNothing(t, parent)
	}
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	err = w.WriteFolder(gone, checkpoint.Files{}, filepath.ToSlash(filepath.Join(parent, "m")), Options{})
	require.ErrorIs(t, err, context.Canceled)
	requireNothing(t, parent)

	taken := filepath.Join(parent, "taken")
	require.NoError(t, os.Mkdir(taken, 0o777))
	require.NoError(t, write(checkpoint.Files{}, taken, Options{}), "an empty folder will do")
	before, err := os.ReadDir(taken)
	require.NoError(t, err)
	err = write(checkpoint.Files{}, taken, Options{})
	require.ErrorContains(t, err, "the folder is not empty: it holds ")
	after, err := os.ReadDir(taken)
	require.NoError(t, err)
	require.Equal(t, len(before), len(after))
}

func TestAnAdapterOfAnotherModelIsNamed(t *testing.T) {
	model, _, _ := caseOf(t, "granite4")
	_, other, _ := caseOf(t, "qwen3")
	_, _, err := New(model, []*lora.Files{other}, Base{})
	require.ErrorContains(t, err, "it has no ")
	model, _, _ = caseOf(t, "bnb_nf4")
	_, other, _ = caseOf(t, "tiny_16bit")
	_, _, err = New(model, []*lora.Files{other}, Base{})
	e, ok := errors.AsType[*usererr.Error](err)
	require.True(t, ok, "%v", err)
	require.Contains(t, e.Hint, "the adapter belongs to another model")
}

// An adapter is not added twice without a word, whatever path each of the two has.
func TestTheSameAdapterTwice(t *testing.T) {
	model, adapter, _ := caseOf(t, "granite4")
	_, other, _ := caseOf(t, "qwen3")
	again := *adapter
	again.Path = "checkpoint-75"
	_, _, err := New(model, []*lora.Files{adapter, &again}, Base{})
	require.ErrorContains(t, err, "write model checkpoint-75: it is the same adapter as "+adapter.Path+": both together would count twice")
	_, _, err = New(model, []*lora.Files{adapter, other}, Base{})
	require.ErrorContains(t, err, "it has no ")
}

func TestValuesBeyondTheTypeAreNamed(t *testing.T) {
	model, adapter, _ := caseOf(t, "tiny_16bit")
	for i := range adapter.Tensors {
		if strings.Contains(adapter.Tensors[i].Name, "layers.1.mlp.up_proj.lora_A") {
			for k := range adapter.Tensors[i].Values {
				adapter.Tensors[i].Values[k] = 1e7
			}
		}
	}
	w, _, err := New(model, []*lora.Files{adapter}, Base{})
	require.NoError(t, err)
	parent := t.TempDir()
	err = w.WriteFolder(context.Background(), checkpoint.Files{}, filepath.ToSlash(filepath.Join(parent, "m")), Options{})
	require.ErrorContains(t, err, " of model.layers.1.mlp.up_proj.weight is ")
	require.ErrorContains(t, err, "f16 holds no more than 65504: choose --dtype bf16")
	requireNothing(t, parent)
	_, tensors := written(t, model, []*lora.Files{adapter}, Base{}, BF16)
	require.NotEmpty(t, tensors)
}

// wrap makes a folder of a model that reads images too: the language model under the names within, its file cut in
// two, and an encoder of one tensor beside, in a file of its own.
func wrap(t *testing.T, from string) string {
	dir := t.TempDir()
	inner, err := os.ReadFile(filepath.Join(from, "config.json"))
	require.NoError(t, err)
	config := `{"architectures":["Gemma3ForConditionalGeneration"],"model_type":"gemma3","vision_config":{"hidden_size":8},"text_config":` +
		string(inner) + `}`
	require.NoError(t, os.WriteFile(filepath.Join(dir, "config.json"), []byte(config), 0o666))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "preprocessor_config.json"), []byte(`{}`), 0o666))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "pytorch_model.bin"), []byte(`old`), 0o666))
	tensors, err := referencetest.Tensors(filepath.Join(from, "model.safetensors"))
	require.NoError(t, err)
	files := map[string][]safetensors.Data{}
	index := ""
	put := func(file, name string, tensor referencetest.Tensor) {
		data := safetensors.Data{Name: name, DType: safetensors.BF16, Shape: tensor.Shape, Bytes: safetensors.BFloat16Bytes(tensor.Values)}
		files[file] = append(files[file], data)
		index += `,"` + name + `":"` + file + `"`
	}
	for name, tensor := range tensors {
		file := "model-00001-of-00003.safetensors"
		if strings.Contains(name, "layers.1.") {
			file = "model-00002-of-00003.safetensors"
		}
		put(file, "language_model."+name, tensor)
	}
	put("model-00003-of-00003.safetensors", "vision_tower.x.weight", referencetest.Tensor{Shape: []int{1, 2}, Values: []float32{1, 2}})
	for file, list := range files {
		f, err := os.Create(filepath.Join(dir, file))
		require.NoError(t, err)
		require.NoError(t, safetensors.Write(f, nil, list))
		require.NoError(t, f.Close())
	}
	text := `{"weight_map":{` + index[1:] + `}}`
	require.NoError(t, os.WriteFile(filepath.Join(dir, "model.safetensors.index.json"), []byte(text), 0o666))
	return dir
}

// A model that reads images stays one: its class, its names, its files, and the encoder.
func TestAWrappedModelStaysWhole(t *testing.T) {
	plain, adapter, from := caseOf(t, "gemma3_text")
	wrapped := wrap(t, from)
	_, want := written(t, plain, []*lora.Files{adapter}, Base{}, BF16)
	dir, got := written(t, openModel(t, wrapped), []*lora.Files{adapter}, Base{}, "")
	require.Equal(t, []float32{1, 2}, got["vision_tower.x.weight"].Values)
	require.Len(t, got, len(want)+1)
	for name, tensor := range want {
		require.Equal(t, tensor, got["language_model."+name], name)
	}
	require.FileExists(t, filepath.Join(dir, "model-00003-of-00003.safetensors"))
	require.FileExists(t, filepath.Join(dir, "preprocessor_config.json"))
	require.NoFileExists(t, filepath.Join(dir, "pytorch_model.bin"))
	again := openModel(t, dir)
	require.Equal(t, "Gemma3ForConditionalGeneration", again.Spec.Wrapper)

	require.NoError(t, os.Remove(filepath.Join(wrapped, "model-00003-of-00003.safetensors")))
	w, _, err := New(openModel(t, wrapped), []*lora.Files{adapter}, Base{})
	require.NoError(t, err)
	err = w.WriteFolder(context.Background(), checkpoint.Files{}, filepath.ToSlash(filepath.Join(t.TempDir(), "m")), Options{})
	require.ErrorContains(t, err, "model-00003-of-00003.safetensors is missing, which only images need (fetch all files")
}
