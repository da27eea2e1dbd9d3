package gpu

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
)

// Read waits for everything submitted so far and returns the bytes of the ranges, concatenated: one read-back, unless
// they exceed the ring. Offsets and sizes are multiples of 4. The error is ctx's, or says that the device is lost. A
// dry device gives zeros. What a cancelled read-back has begun it ends: no buffer stays mapped, and the next one finds
// the device as ever.
func (d *Device) Read(ctx context.Context, ranges ...Range) ([]byte, error) {
	var total int64
	for _, r := range ranges {
		total += r.Size
	}
	ranges = slices.Clone(ranges)
	data := make([]byte, 0, total)
	if d.native == nil || total == 0 {
		return data[:total], nil
	}
	if err := d.makeRings(); err != nil {
		return nil, err
	}
	for len(ranges) > 0 {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		var part []Range
		for room := d.readback.Size; len(ranges) > 0 && room > 0; {
			r := ranges[0]
			n := min(r.Size, room)
			part = append(part, Range{r.Buffer, r.Offset, n})
			room -= n
			if ranges[0] = (Range{r.Buffer, r.Offset + n, r.Size - n}); n == r.Size {
				ranges = ranges[1:]
			}
		}
		piece, err := d.readPart(part)
		if err != nil {
			return nil, err
		}
		data = append(data, piece...)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return data, nil
}

// readPart reads ranges that fit the read-back ring together. It hears no context: a map that has begun must be waited
// for and undone before anything is copied to the ring again.
func (d *Device) readPart(ranges []Range) ([]byte, error) {
	encoder, err := d.native.CreateCommandEncoder(nil)
	if err != nil {
		return nil, fmt.Errorf("read-back: %w", err)
	}
	var at int64
	for _, r := range ranges {
		if err := encoder.CopyBufferToBuffer(r.Buffer.native, uint64(r.Offset), d.readback.native, uint64(at), uint64(r.Size)); err != nil {
			return nil, fmt.Errorf("read-back of %s: %w", r.Buffer.Label, err)
		}
		at += r.Size
	}
	commands, err := encoder.Finish(nil)
	encoder.Release()
	if err != nil {
		return nil, fmt.Errorf("read-back: %w", err)
	}
	err = d.submit(commands)
	commands.Release()
	if err != nil {
		return nil, err
	}
	data := make([]byte, at)
	if err := d.mapRead(d.readback, data); err != nil {
		return nil, fmt.Errorf("read-back: %w", err)
	}
	return data, nil
}

// Wait waits for everything submitted so far. The error is ctx's, or says that the device is lost.
func (d *Device) Wait(ctx context.Context) error {
	if d.native == nil {
		return nil
	}
	if err := d.makeRings(); err != nil {
		return err
	}
	_, err := d.Read(ctx, Range{d.staging, 0, 4})
	return err
}

// ReadFloat32 reads a whole F32 or BF16 tensor, row after row [Rows·Cols]. Its errors are those of Read.
func (d *Device) ReadFloat32(ctx context.Context, t *Tensor) ([]float32, error) {
	out := make([]float32, 0, t.Rows*t.Cols)
	for _, s := range t.Shards {
		n := s.Rows * t.Cols
		data, err := d.Read(ctx, Range{s.Range.Buffer, s.Range.Offset, alignUp(t.DType.Size(n), 4)})
		if err != nil {
			return nil, err
		}
		for i := 0; i < n; i++ {
			if t.DType == BF16 {
				out = append(out, math.Float32frombits(uint32(binary.LittleEndian.Uint16(data[2*i:]))<<16))
			} else {
				out = append(out, math.Float32frombits(binary.LittleEndian.Uint32(data[4*i:])))
			}
		}
	}
	return out, nil
}

// Float32Bytes is the little-endian memory of x, 4 bytes a value; Uint32Bytes likewise.
func Float32Bytes(x []float32) []byte {
	out := make([]byte, 4*len(x))
	for i, v := range x {
		binary.LittleEndian.PutUint32(out[4*i:], math.Float32bits(v))
	}
	return out
}

// Uint32Bytes is the little-endian memory of x.
func Uint32Bytes(x []uint32) []byte {
	out := make([]byte, 4*len(x))
	for i, v := range x {
		binary.LittleEndian.PutUint32(out[4*i:], v)
	}
	return out
}

// WriteFloat32 fills a tensor that is not being recorded on from its rows [Rows·Cols]; BF16 tensors round to nearest
// even. Another number of values panics. The error is the driver's.
func (t *Tensor) WriteFloat32(x []float32) error {
	if len(x) != t.Rows*t.Cols {
		panic(fmt.Sprintf("gpu: %d values for tensor %s of %d×%d", len(x), t.Name, t.Rows, t.Cols))
	}
	for _, s := range t.Shards {
		part := x[s.Row*t.Cols : (s.Row+s.Rows)*t.Cols]
		data := Float32Bytes(part)
		if t.DType == BF16 {
			data = BFloat16Bytes(part)
		}
		if err := s.Range.Buffer.Write(s.Range.Offset, data); err != nil {
			return err
		}
	}
	return nil
}

// BFloat16Bytes rounds to nearest even and pads to a multiple of four bytes.
func BFloat16Bytes(x []float32) []byte {
	out := make([]byte, alignUp(int64(2*len(x)), 4))
	PutBFloat16(out, x)
	return out
}

// PutBFloat16 is BFloat16Bytes into dst, of at least 2 bytes a value.
func PutBFloat16(dst []byte, x []float32) {
	const infinity = 0xff << 24 // without the sign; above it are NaNs
	for ; len(x) >= 16; dst, x = dst[32:], x[16:] {
		in, out := (*[16]float32)(x), (*[32]byte)(dst)
		for i := 0; i < 16; i += 2 {
			low, high := math.Float32bits(in[i]), math.Float32bits(in[i+1])
			if low<<1 > infinity || high<<1 > infinity {
				low, high = uint32(bfloat16(in[i]))<<16, uint32(bfloat16(in[i+1]))<<16
			} else {
				low, high = low+0x7fff+low>>16&1, high+0x7fff+high>>16&1
			}
			binary.LittleEndian.PutUint32(out[2*i:2*i+4], low>>16|high&0xffff0000)
		}
	}
	for i, v := range x {
		binary.LittleEndian.PutUint16(dst[2*i:], bfloat16(v))
	}
}

// bfloat16 rounds to nearest even; a NaN stays one.
func bfloat16(v float32) uint16 {
	bits := math.Float32bits(v)
	if v == v {
		bits += 0x7fff + bits>>16&1
	} else {
		bits |= 1 << 22
	}
	return uint16(bits >> 16)
}
