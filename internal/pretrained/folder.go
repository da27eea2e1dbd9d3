package pretrained

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"qlora-wgpu/internal/model/spec"
	"qlora-wgpu/internal/safetensors"
	"qlora-wgpu/internal/usererr"
)

// maxText bounds every JSON file and template of a folder.
const maxText = 64 << 20

// File is an open file of fixed size. ReadAt may be called concurrently.
type File interface {
	io.ReaderAt
	io.Closer
	Size() int64
}

// Folder opens files by name, of a folder in it by "folder/name". A missing file gives an error that is fs.ErrNotExist.
type Folder interface {
	Open(name string) (File, error)
	// List gives the names of the files of a folder in it, none where there is no such folder.
	List(folder string) ([]string, error)
}

// OpenFolder opens a Hugging Face model: config.json and either model.safetensors or the shards that
// model.safetensors.index.json names; generation_config.json and the files of its tokenizer where they exist. The path
// only serves messages. Errors are *usererr.Error.
func OpenFolder(folder Folder, path string) (*Model, error) {
	return whole(openFolder(folder, path, false))
}

// DescribeFolder is OpenFolder of what describes a model alone, for a folder whose bytes come from far: configuration
// and headers. The model has no tokenizer and no content hash; of a head beside a tied embedding the configuration is
// believed.
func DescribeFolder(folder Folder, path string) (*Model, error) {
	return whole(openFolder(folder, path, true))
}

// whole closes a model that was opened in part.
func whole(m *Model, err error) (*Model, error) {
	if err != nil {
		m.Close()
		return nil, err
	}
	return m, nil
}

func openFolder(folder Folder, path string, describe bool) (*Model, error) {
	m, h := newModel(path)
	in := func(name string) string { return strings.TrimRight(path, `/\`) + "/" + name }
	data, err := readText(folder, "config.json", in("config.json"))
	if errors.Is(err, fs.ErrNotExist) {
		if _, isAdapter := readText(folder, "adapter_config.json", ""); isAdapter == nil {
			return m, usererr.New(op, path, "it is an adapter and no model").Hinted("give it as the adapter, and its base model as the model")
		}
		return m, usererr.New(op, path, "there is no config.json").Hinted("a model folder holds config.json and *.safetensors")
	} else if err != nil {
		return m, err
	}
	keys, err := readKeys(data, in("config.json"))
	if err != nil {
		return m, err
	}
	fourBit, err := readQuantization(keys)
	if err != nil {
		return m, err
	}
	inner, wrapper := languageModel(keys)
	wrapped := wrapper != ""
	if err := m.describe(inner, nil); err != nil {
		return m, err
	}
	m.Spec.Wrapper, m.config, m.folder = wrapper, data, folder
	if err := hashPart(h, bytes.NewReader(data), int64(len(data))); err != nil {
		return m, err
	}
	if err := m.readGeneration(folder, in); err != nil {
		return m, err
	}
	if !describe {
		m.tokenizer, err = readTokenizer(folder, in)
	}
	if err != nil {
		return m, err
	}
	if t := m.tokenizer; t.JSON == nil && t.Tekken == nil && t.SentencePiece == nil {
		m.noTokenizer = usererr.New(op, path, "there is no tokenizer.json, tekken.json or tokenizer.model").
			Hinted("fetch it with the model; of vocab.json and merges.txt transformers makes a tokenizer.json: " +
				"AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER)")
	}
	shards, forImages, weightMap, err := shardNames(folder, path, in, wrapped)
	if err != nil {
		return m, err
	}
	for _, shard := range shards {
		file, err := folder.Open(shard)
		if err != nil {
			return m, usererr.New(op, in(shard), "%w", err).Hinted("fetch the missing weights")
		}
		m.closers = append(m.closers, file)
		st, err := safetensors.Read(file, file.Size(), in(shard))
		if err != nil {
			return m, err
		}
		if err := hashPart(h, file, st.DataStart()); err != nil {
			return m, usererr.New(op, in(shard), "%w", err)
		}
		for _, t := range st.Tensors() {
			w := safetensorsWeight(st, t, in(shard))
			if wrapped {
				w.Name = plainName(w.Name)
			}
			if err := m.add(w); err != nil {
				return m, err
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(weightMap)) {
		plain := name
		if wrapped {
			plain = plainName(name)
		}
		if !slices.Contains(shards, weightMap[name]) {
			continue // with nothing in it that is read
		}
		i, ok := m.index[plain]
		if want := in(weightMap[name]); !ok || m.weights[i].file != want {
			return m, usererr.New(op, want, "tensor %s is missing, the index puts it here", name).Of(usererr.Format)
		}
	}
	if wrapped {
		if !describe {
			if err := m.openEncoder(folder, forImages, in); err != nil {
				return m, err
			}
		}
		if err := m.leaveEncoder(); err != nil {
			return m, err
		}
		m.tieWrapped(keys)
	}
	if fourBit {
		err = m.foldQuantized()
	} else {
		err = m.noneQuantized()
	}
	if err != nil {
		return m, err
	}
	if err := m.untie(!describe); err != nil {
		return m, err
	}
	m.addOneToNorms()
	m.warnOfUnused()
	if describe {
		return m, nil
	}
	return m, m.hashTensors(h)
}

// addOneToNorms makes the weights of norms what they are multiplied by, where the files hold them less 1. GGUF's hold
// them whole.
func (m *Model) addOneToNorms() {
	if !m.Spec.NormPlusOne {
		return
	}
	for _, t := range m.Spec.Tensors() {
		i, ok := m.index[t.Name]
		if t.Role != spec.Vector || !ok {
			continue
		}
		stored := m.weights[i].readRows
		m.weights[i].readRows = func(first, rows int, dst []float32) error {
			err := stored(first, rows, dst)
			for j := range dst {
				dst[j]++
			}
			return err
		}
	}
}

func safetensorsWeight(st *safetensors.File, t safetensors.Tensor, file string) weight {
	rows, cols := 1, t.Elements()
	if len(t.Shape) > 1 && cols > 0 {
		rows, cols = t.Shape[0], cols/t.Shape[0]
	}
	return weight{
		Tensor: Tensor{t.Name, rows, cols}, file: file, kind: string(t.DType), size: t.Size, stored: t.Name, shape: t.Shape,
		readRows:  func(first, _ int, dst []float32) error { return st.ReadFloat32(t, dst, first*cols) },
		readBytes: func(dst []byte, at int64) error { return st.ReadBytes(t, dst, at) },
	}
}

// shardNames lists the weight files, of a wrapped model those apart that only images need and that may be absent, and
// for a sharded model which tensor the index puts where.
func shardNames(
	folder Folder, path string, in func(string) string, wrapped bool,
) (shards, forImages []string, weightMap map[string]string, err error) {
	const single, index = "model.safetensors", "model.safetensors.index.json"
	if f, err := folder.Open(single); err == nil {
		return []string{single}, nil, nil, f.Close()
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, nil, nil, usererr.New(op, in(single), "%w", err)
	}
	data, err := readText(folder, index, in(index))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, nil, usererr.New(op, path, "there is neither %s nor %s", single, index).
			Hinted("weights in other formats (pytorch_model.bin) have to be converted to safetensors first")
	} else if err != nil {
		return nil, nil, nil, err
	}
	var j struct {
		WeightMap map[string]string `json:"weight_map"`
	}
	if err := decodeJSON(data, in(index), &j); err != nil {
		return nil, nil, nil, err
	}
	if len(j.WeightMap) == 0 {
		return nil, nil, nil, usererr.New(op, in(index), "weight_map is empty").Of(usererr.Format)
	}
	shards = slices.Compact(slices.Sorted(maps.Values(j.WeightMap)))
	for _, shard := range shards {
		if !baseName(shard) {
			return nil, nil, nil, usererr.New(op, in(index), "%q is no plain file name", shard).Of(usererr.Format)
		}
	}
	if wrapped {
		needed := map[string]bool{}
		for tensor, shard := range j.WeightMap {
			needed[shard] = needed[shard] || !OnlyForImages(tensor)
		}
		forImages = slices.DeleteFunc(slices.Clone(shards), func(shard string) bool { return needed[shard] })
		shards = slices.DeleteFunc(shards, func(shard string) bool { return !needed[shard] })
	}
	return shards, forImages, j.WeightMap, nil
}

// baseName reports whether a name stays in its folder under the rules of every system.
func baseName(name string) bool {
	return name != "" && name != "." && name != ".." && !strings.ContainsAny(name, "/\\:\x00")
}

// readText reads a whole file of at most maxText bytes.
func readText(folder Folder, name, path string) ([]byte, error) {
	f, err := folder.Open(name)
	if err != nil {
		return nil, usererr.New(op, path, "%w", err)
	}
	defer f.Close()
	if f.Size() > maxText {
		return nil, usererr.New(op, path, "the file has %d bytes, the limit is %d", f.Size(), maxText).Of(usererr.Format)
	}
	data := make([]byte, f.Size())
	if n, err := f.ReadAt(data, 0); n < len(data) {
		return nil, usererr.New(op, path, "%w", fmt.Errorf("read %d of %d bytes: %w", n, len(data), err))
	}
	if err := usererr.LFS(op, path, data[:min(len(data), len(usererr.LFSStart))]); err != nil {
		return nil, err
	}
	return data, nil
}
