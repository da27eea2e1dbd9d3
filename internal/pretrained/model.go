// Package pretrained opens a model as it was published: a Hugging Face folder (config.json, safetensors) or a GGUF file
// of the llama architecture. Both look the same from here on: Hugging Face's configuration keys, tensor names and row
// order, float32 rows.
package pretrained

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"runtime"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"qlora-wgpu/internal/model/spec"
	"qlora-wgpu/internal/usererr"
)

const op = "open model"

// Tensor is a weight matrix with one row per output feature. A vector (norm, bias) has Rows = 1.
type Tensor struct {
	Name       string // Hugging Face's, such as model.layers.0.self_attn.q_proj.weight
	Rows, Cols int
}

// weight is a tensor and how to reach it.
type weight struct {
	Tensor
	file string // for messages
	kind string // of its elements, by the file format's name: F16, Q4_1
	// readRows dequantizes rows [first, first+rows) into dst.
	readRows func(first, rows int, dst []float32) error
	// readBytes reads the stored bytes from byte at on, for the content hash.
	readBytes func(dst []byte, at int64) error
	size      int64  // stored bytes
	nf4       *NF4   // of a matrix that the files hold in 4 bits; nil elsewhere
	stored    string // its name in a folder's files
	shape     []int  // there
}

// Model is an open model. Its methods may be called concurrently, except Close.
type Model struct {
	Spec   spec.Spec // what its configuration describes
	Tokens Tokens
	// Name is that of its repository on the hub, "owner/name", where whoever opened it knows it; else empty.
	Name string
	// Warnings say what the files hold beside what the configuration describes.
	Warnings []string

	path      string
	weights   []weight
	index     map[string]int
	encoder   []weight       // what only images go through, of a folder
	absent    []string       // files of it that are not there
	config    []byte         // config.json of a folder
	keys      map[string]any // what it would say of a GGUF file's model
	folder    Folder
	tokenizer TokenizerSource
	// noTokenizer is what CheckTokenizer says; nil where there is a tokenizer
	noTokenizer error
	hash        string
	closers     []io.Closer
}

// Path is where it was opened, for messages.
func (m *Model) Path() string { return m.path }

// Tensors lists the model's tensors in the order of the files.
func (m *Model) Tensors() []Tensor {
	out := make([]Tensor, len(m.weights))
	for i, w := range m.weights {
		out[i] = w.Tensor
	}
	return out
}

// Lookup finds a tensor by its Hugging Face name.
func (m *Model) Lookup(name string) (Tensor, bool) {
	i, ok := m.index[name]
	if !ok {
		return Tensor{}, false
	}
	return m.weights[i].Tensor, true
}

// Expect checks that a tensor exists with this shape (rows = 1 for a vector): a config.json and weights that do not
// belong together are the user's mistake, found here before anything is allocated.
func (m *Model) Expect(name string, rows, cols int) error {
	i, ok := m.index[name]
	if !ok {
		return usererr.New(op, m.path, "tensor %s is missing, shape [%d, %d] was wanted", name, rows, cols).Of(usererr.Format).
			Hinted("the weights are incomplete or do not belong to this configuration")
	}
	if w := m.weights[i]; w.Rows != rows || w.Cols != cols {
		return usererr.New(op, w.file, "tensor %s has shape [%d, %d], the configuration asks for [%d, %d]", name, w.Rows, w.Cols, rows, cols).
			Of(usererr.Format).Hinted("the weights do not belong to this configuration")
	}
	return nil
}

// Complete is Expect of all that the configuration describes.
func (m *Model) Complete() error {
	for _, t := range m.Spec.Tensors() {
		if err := m.Expect(t.Name, t.Rows, t.Cols); err != nil {
			return err
		}
	}
	return nil
}

// ReadRows fills dst with rows [firstRow, firstRow+rows) of a tensor as float32, row-major in Hugging Face's row order.
// Errors are a missing tensor, an element type that is no float, and failed reads. A range outside the tensor or a dst
// of another length than rows·Cols is a bug and panics.
func (m *Model) ReadRows(name string, firstRow, rows int, dst []float32) error {
	i, ok := m.index[name]
	if !ok {
		return usererr.New(op, m.path, "tensor %s is missing", name).Of(usererr.Format)
	}
	w := m.weights[i]
	if firstRow < 0 || rows < 0 || firstRow > w.Rows || rows > w.Rows-firstRow || len(dst) != rows*w.Cols {
		panic(fmt.Sprintf("pretrained: rows [%d, %d) of tensor %s [%d, %d] into %d elements",
			firstRow, firstRow+rows, name, w.Rows, w.Cols, len(dst)))
	}
	return w.readRows(firstRow, rows, dst)
}

// Type is how the file stores a tensor's elements (BF16, F16, Q4_1); empty: there is no such tensor.
func (m *Model) Type(name string) string {
	i, ok := m.index[name]
	if !ok {
		return ""
	}
	return m.weights[i].kind
}

// Tokenizer is what the model says about its tokenizer.
func (m *Model) Tokenizer() TokenizerSource { return m.tokenizer }

// CheckTokenizer is a *usererr.Error where the model's files hold no tokenizer, which not everything needs.
func (m *Model) CheckTokenizer() error { return m.noTokenizer }

// ContentHash is a SHA-256 (hex) that tells models apart without reading all of them: over the configuration, the
// headers of the weight files (names, types, shapes, offsets; for GGUF also the vocabulary), and the first and last 4
// KiB of every tensor. It does not depend on where the files lie or what a GGUF is called. It is no defence against a
// forger.
func (m *Model) ContentHash() string { return m.hash }

// Files are the names of the weight files, each once.
func (m *Model) Files() (names []string) {
	for _, w := range m.weights {
		if !slices.Contains(names, w.file) {
			names = append(names, w.file)
		}
	}
	return names
}

// Digest is a SHA-256 (hex) over ContentHash and every stored byte of every tensor. It reads all of the files: pieces
// of 4 MiB are hashed on all cores, then the pieces' hashes in order.
func (m *Model) Digest(ctx context.Context) (string, error) {
	const piece = 4 << 20
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(runtime.GOMAXPROCS(0))
	buffers := sync.Pool{New: func() any { return new([piece]byte) }}
	var sums []*[sha256.Size]byte
	for _, w := range m.weights {
		for at := int64(0); at < w.size && ctx.Err() == nil; at += piece {
			sum := new([sha256.Size]byte)
			sums = append(sums, sum)
			group.Go(func() error {
				buffer := buffers.Get().(*[piece]byte)
				defer buffers.Put(buffer)
				data := buffer[:min(piece, w.size-at)]
				if err := w.readBytes(data, at); err != nil {
					return err
				}
				*sum = sha256.Sum256(data)
				return ctx.Err()
			})
		}
	}
	if err := group.Wait(); err != nil {
		return "", err
	}
	if err := ctx.Err(); err != nil && len(sums) == 0 {
		return "", err
	}
	whole := sha256.New()
	io.WriteString(whole, m.hash)
	for _, sum := range sums {
		whole.Write(sum[:])
	}
	return hex.EncodeToString(whole.Sum(nil)), nil
}

// WithLayers is the model with its first n layers only, as many as it has at most. It reads m's files, and closes none.
func (m *Model) WithLayers(n int) *Model {
	short := *m
	short.Spec, short.closers = m.Spec.WithLayers(min(n, len(m.Spec.Layers))), nil
	return &short
}

// WithRows is the model with other weights: rows [first, first+n) of a tensor as read gives them, float32, row-major in
// dst, whatever the files hold. It reads m's files, and closes none.
func (m *Model) WithRows(read func(tensor string, first, n int, dst []float32) error) *Model {
	other := *m
	other.Spec.Quantized, other.closers = nil, nil
	other.weights = slices.Clone(m.weights)
	for i := range other.weights {
		w := &other.weights[i]
		w.kind, w.nf4 = "F32", nil
		w.readRows = func(first, n int, dst []float32) error { return read(w.Name, first, n, dst) }
	}
	return &other
}

// Close releases the files; reads fail from then on.
func (m *Model) Close() error {
	var errs []error
	for _, c := range m.closers {
		errs = append(errs, c.Close())
	}
	m.closers = nil
	return errors.Join(errs...)
}

// add appends a weight; a name that is there already is an error.
func (m *Model) add(w weight) error {
	if i, twice := m.index[w.Name]; twice {
		return usererr.New(op, w.file, "tensor %s is in %s too", w.Name, m.weights[i].file).Of(usererr.Format)
	}
	m.index[w.Name] = len(m.weights)
	m.weights = append(m.weights, w)
	return nil
}

// hashTensors finishes the content hash.
func (m *Model) hashTensors(h hash.Hash) error {
	const sample = 4 << 10
	buf := make([]byte, sample)
	for _, w := range m.weights {
		n := min(w.size, sample)
		for _, at := range []int64{0, w.size - n} {
			if err := w.readBytes(buf[:n], at); err != nil {
				return err
			}
			h.Write(buf[:n])
		}
	}
	m.hash = hex.EncodeToString(h.Sum(nil))
	return nil
}

// hashPart adds a length-prefixed piece, so that neighbours cannot be confused.
func hashPart(h hash.Hash, r io.ReaderAt, size int64) error {
	h.Write(binary.LittleEndian.AppendUint64(nil, uint64(size)))
	_, err := io.Copy(h, io.NewSectionReader(r, 0, size))
	return err
}

func newModel(path string) (*Model, hash.Hash) {
	return &Model{path: path, index: map[string]int{}}, sha256.New()
}
