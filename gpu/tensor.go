package gpu

import "fmt"

// DType is the storage type of a tensor's elements.
type DType uint8

const (
	F32 DType = iota
	// BF16 is stored two to a u32, the element with the lower index in the low half.
	BF16
	U32
)

// Size is the bytes of n elements of the type.
func (t DType) Size(n int) int64 {
	if t == BF16 {
		return int64(n) * 2
	}
	return int64(n) * 4
}

// Tensor is a row-major matrix [Rows, Cols] in device memory, cut by rows into shards that each fit a binding.
type Tensor struct {
	Name       string
	DType      DType
	Rows, Cols int
	Shards     []Shard
}

// Shard holds rows [Row, Row+Rows) of a tensor.
type Shard struct {
	Range     Range
	Row, Rows int
}

// NewTensor makes a zeroed tensor of its own buffers, one a shard. What does not fit is an *OutOfMemory, and nothing
// stays allocated.
func (d *Device) NewTensor(name string, dtype DType, rows, cols int) (*Tensor, error) {
	return d.newTensor(name, dtype, rows, cols, d.NewBuffer)
}

// NewWholeTensor is a tensor that is not cut. One that no binding holds is a *TooLarge; its other errors are those of
// NewTensor.
func (d *Device) NewWholeTensor(name string, dtype DType, rows, cols int) (*Tensor, error) {
	if bytes := dtype.Size(rows * cols); bytes > d.Limits.MaxTensorBytes() {
		return nil, &TooLarge{Name: name, Bytes: bytes, Limit: d.Limits.MaxTensorBytes()}
	}
	b, err := d.NewBuffer(name, dtype.Size(rows*cols))
	if err != nil {
		return nil, err
	}
	return &Tensor{Name: name, DType: dtype, Rows: rows, Cols: cols, Shards: []Shard{{b.All(), 0, rows}}}, nil
}

// NewUniformTensor is a tensor of which parts can be bound as Uniform. Its errors are those of NewTensor.
func (d *Device) NewUniformTensor(name string, dtype DType, rows, cols int) (*Tensor, error) {
	return d.newTensor(name, dtype, rows, cols, d.NewUniformBuffer)
}

func (d *Device) newTensor(
	name string, dtype DType, rows, cols int, buffer func(label string, size int64) (*Buffer, error),
) (*Tensor, error) {
	t := &Tensor{Name: name, DType: dtype, Rows: rows, Cols: cols}
	for row := 0; row < rows || row == 0; {
		n := min(d.ShardRows(dtype, cols), rows-row)
		b, err := buffer(name, dtype.Size(n*cols))
		if err != nil {
			t.Release()
			return nil, err
		}
		t.Shards = append(t.Shards, Shard{b.All(), row, n})
		row += max(n, 1)
	}
	return t, nil
}

// ShardRows is how many rows of this width fit one binding. A single row that does not fit panics: loading checks for
// it.
func (d *Device) ShardRows(dtype DType, cols int) int {
	n := int(d.Limits.MaxBindingBytes / max(dtype.Size(cols), 1))
	if n == 0 {
		panic(fmt.Sprintf("gpu: a row of %d elements exceeds the largest binding of %d bytes", cols, d.Limits.MaxBindingBytes))
	}
	// of the partial sums over rows: where shards are cut at multiples of it, sums do not depend on the cutting
	const step = 256
	if n > step {
		n = n / step * step
	} else if n > 64 {
		n = n / 64 * 64
	}
	return n
}

// Release frees the tensor's buffers; only for tensors of NewTensor.
func (t *Tensor) Release() {
	for _, s := range t.Shards {
		s.Range.Buffer.Release()
	}
	t.Shards = nil
}

// Single is the range of a tensor that must not be sharded; one that is panics.
func (t *Tensor) Single() Range {
	if len(t.Shards) != 1 {
		panic(fmt.Sprintf("gpu: tensor %s has %d shards where one is wanted", t.Name, len(t.Shards)))
	}
	return t.Shards[0].Range
}

// View is the first rows of a one-shard tensor's memory seen as another shape of at most its size; a larger one panics.
func (t *Tensor) View(rows, cols int) *Tensor {
	r := t.Single()
	if t.DType.Size(rows*cols) > r.Size {
		panic(fmt.Sprintf("gpu: view of %d×%d exceeds tensor %s of %d×%d", rows, cols, t.Name, t.Rows, t.Cols))
	}
	return &Tensor{Name: t.Name, DType: t.DType, Rows: rows, Cols: cols, Shards: []Shard{{r, 0, rows}}}
}

// Slice is rows [row, row+rows) of a one-shard tensor; the first row must start on a binding boundary (256 bytes), else
// it panics. Its range reaches to the end of the tensor's, so that one bind group serves every length.
func (t *Tensor) Slice(row, rows int) *Tensor {
	r := t.Single()
	start := t.DType.Size(row * t.Cols)
	if start%alignment != 0 || row+rows > t.Rows {
		panic(fmt.Sprintf("gpu: rows %d to %d of tensor %s (%d×%d) do not start on a binding boundary", row, row+rows, t.Name, t.Rows, t.Cols))
	}
	return &Tensor{
		Name: t.Name, DType: t.DType, Rows: rows, Cols: t.Cols, Shards: []Shard{{Range{r.Buffer, r.Offset + start, r.Size - start}, 0, rows}},
	}
}

// Device is where the tensor lives.
func (t *Tensor) Device() *Device { return t.Shards[0].Range.Buffer.dev }

// Bytes is the size of the tensor's elements in bytes.
func (t *Tensor) Bytes() int64 { return t.DType.Size(t.Rows * t.Cols) }
