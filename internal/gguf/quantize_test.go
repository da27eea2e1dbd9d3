package gguf

import (
	"bytes"
	"encoding/binary"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// quantized are the types that are written.
var quantized = []Type{F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q2_K, Q3_K, Q4_K, Q5_K, Q6_K}

// samples are n blocks of 256 values by PCG with the given seed, of the first kinds of twelve natures in turn. Those of
// the last two are in part larger than the types hold.
func samples(n, kinds int, seed uint64) []float32 {
	r := rand.New(rand.NewPCG(seed, 22))
	x := make([]float32, 0, 256*n)
	for b := range n {
		scale := float32(math.Exp(float64(r.NormFloat64()) - 4))
		for i := range 256 {
			v := scale * float32(r.NormFloat64())
			switch b % kinds {
			case 1: // a weight matrix with outliers
				if r.IntN(64) == 0 {
					v *= 30
				}
			case 2: // of one sign
				v = abs(v) + scale
			case 3: // few values: ties, equal groups, zeros of both signs
				v = scale * float32(r.IntN(5)-2)
			case 4: // constant groups, of which some are zero
				v = scale * float32(i/32%3-1)
			case 5: // nearly nothing: subnormal numbers and scales, groups below the epsilon
				v *= float32(math.Ldexp(1, -40-b/kinds%11*10-i/64))
			case 6: // of all magnitudes
				v *= float32(math.Ldexp(1, r.IntN(24)-20))
			case 7: // what 16 bits hold, and the middles between
				v = math.Float32frombits(math.Float32bits(v)&^0xffff | uint32(i%2)<<15)
			case 8: // one value alone in each group, two or three
				if i%16 > b/kinds%3 {
					v = 0
				}
			case 9: // about as large as scales hold
				v = max(-3e4, min(3e4, v*1e5))
			case 10: // and larger
				v *= float32(math.Ldexp(1, 10+b/kinds%100))
			case 11: // any finite bits
				for v = math.Float32frombits(r.Uint32()); v-v != 0; {
					v = math.Float32frombits(r.Uint32())
				}
			}
			x = append(x, v)
		}
	}
	return x
}

// fewSamples are those of testdata/quantized.
func fewSamples(typ Type) []float32 {
	if layouts[typ].elements == 1 {
		return samples(10, 10, 1)
	}
	return samples(40, 10, 1)
}

// TestQuantize compares with ggml's own bytes of a few blocks, which TestQuantizeLikePython had made.
func TestQuantize(t *testing.T) {
	for _, typ := range quantized {
		want, err := os.ReadFile(filepath.Join("testdata", "quantized", typ.String()))
		require.NoError(t, err)
		require.Zero(t, compare(t, typ, want, fewSamples(typ)))
	}
}

// compare quantizes blocks of 256 values. One is refused where ggml's has an infinite scale or element, or a value
// beyond what the type can hold; the others have to be equal. It returns how many are refused.
func compare(t *testing.T, typ Type, want []byte, x []float32) (refused int) {
	l, differ := layouts[typ], 0
	got := make([]byte, typ.RowSize(256))
	for ; len(x) > 0; x, want = x[256:], want[len(got):] {
		infinite := false
		for b := 0; b < len(got); b += l.bytes {
			for _, at := range l.float16s {
				infinite = infinite || want[b+at+1]&0x7c == 0x7c
			}
			infinite = infinite || l.most > 0 && slices.ContainsFunc(x[:256], func(v float32) bool { return abs(v) > l.most })
			infinite = infinite || typ == BF16 && binary.LittleEndian.Uint16(want[b:])&0x7f80 == 0x7f80
		}
		err := typ.Quantize(got, x[:256])
		if infinite {
			refused++
			require.ErrorContains(t, err, ", too large for "+typ.String())
			continue
		}
		require.NoError(t, err)
		if !bytes.Equal(got, want[:len(got)]) {
			if differ++; differ < 4 {
				t.Errorf("%v:\n% x\nggml:\n% x\nof %v", typ, got, want[:len(got)], x[:256])
			}
		}
	}
	require.Empty(t, want)
	require.Zero(t, differ, typ)
	return refused
}

func TestQuantizeRefuses(t *testing.T) {
	for _, typ := range quantized {
		for value, message := range map[float32]string{
			float32(math.NaN()): "value 300 is NaN", float32(math.Inf(1)): "value 300 is +Inf", float32(math.Inf(-1)): "value 300 is -Inf",
			-math.MaxFloat32: "value 300 is -3.4028235e+38, too large for " + typ.String(),
		} {
			x := samples(2, 1, 3)
			x[300] = value
			err := typ.Quantize(make([]byte, typ.RowSize(len(x))), x)
			if typ == F32 && value == -math.MaxFloat32 {
				require.NoError(t, err)
				continue
			}
			require.EqualError(t, err, message, typ)
		}
		require.Panics(t, func() { _ = typ.Quantize(make([]byte, 1), make([]float32, 256)) })
	}
	for _, typ := range []Type{IQ4_NL, IQ4_XS, MXFP4, 999} {
		require.False(t, typ.CanQuantize())
		require.Panics(t, func() { _ = typ.Quantize(make([]byte, 256), make([]float32, 256)) })
	}
}

// TestToFloat16 checks every number of the format, both of its middles, and what lies next to these.
func TestToFloat16(t *testing.T) {
	for h := range uint16(0x7c00) {
		b := []byte{byte(h), byte(h >> 8)}
		value, next := float16(b), float32(65536)
		if h < 0x7bff {
			next = float16([]byte{byte(h + 1), byte((h + 1) >> 8)})
		}
		middle := (value + next) / 2
		for v, want := range map[float32]uint16{
			value: h, middle: h + h&1, math.Nextafter32(middle, 0): h, math.Nextafter32(middle, next): h + 1,
		} {
			require.Equal(t, want, toFloat16(v), v)
			require.Equal(t, want|0x8000, toFloat16(-v)|0x8000, v)
		}
	}
	require.Equal(t, uint16(0x8000), toFloat16(float32(math.Copysign(0, -1))))
}

// theirs are the folder of llama.cpp's libraries and a Python, which tools/gguf_test/run.sh names.
func theirs(t testing.TB) (llama, python string) {
	llama, python = os.Getenv("QLORA_LLAMA"), os.Getenv("QLORA_GGUF_PYTHON")
	if llama == "" || python == "" {
		t.Skip("QLORA_LLAMA and QLORA_GGUF_PYTHON are not set: make test-gguf")
	}
	return llama, python
}

// ggml runs tools/gguf_test/ggml.py.
func ggml(t testing.TB, typ Type, x []float32, more ...string) []byte {
	llama, python := theirs(t)
	src := make([]byte, 4*len(x))
	toFloat32s(src, x)
	args := []string{"../../tools/gguf_test/ggml.py", filepath.Join(llama, "libggml-base.so"), typ.String(), "256"}
	command := exec.Command(python, append(args, more...)...)
	command.Stdin = bytes.NewReader(src)
	command.Stderr = os.Stderr
	out, err := command.Output()
	require.NoError(t, err)
	return out
}

// TestQuantizeLikePython does so with millions of values; QLORA_GGUF_UPDATE=1 makes the fixtures of TestQuantize.
func TestQuantizeLikePython(t *testing.T) {
	if os.Getenv("QLORA_GGUF_UPDATE") != "" {
		for _, typ := range quantized {
			require.NoError(t, os.MkdirAll(filepath.Join("testdata", "quantized"), 0o777))
			require.NoError(t, os.WriteFile(filepath.Join("testdata", "quantized", typ.String()), ggml(t, typ, fewSamples(typ)), 0o666))
		}
	}
	n := 10000
	if s := os.Getenv("QLORA_GGUF_BLOCKS"); s != "" {
		n, _ = strconv.Atoi(s)
	}
	x := samples(n, 12, 2)
	for _, typ := range quantized {
		t.Run(typ.String(), func(t *testing.T) {
			t.Logf("%d values, %d of %d blocks refused", len(x), compare(t, typ, ggml(t, typ, x), x), n)
		})
	}
}

// BenchmarkQuantize tells MB of float32 a second in one thread, by the fastest run of some milliseconds, and those of
// ggml where it is there: other work on the machine counts for neither.
func BenchmarkQuantize(b *testing.B) {
	x := samples(200, 2, 1)
	for _, typ := range quantized {
		b.Run(typ.String(), func(b *testing.B) {
			dst := make([]byte, typ.RowSize(len(x)))
			best := math.Inf(1)
			for b.Loop() {
				start := time.Now()
				require.NoError(b, typ.Quantize(dst, x))
				best = min(best, time.Since(start).Seconds())
			}
			b.ReportMetric(float64(4*len(x))/1e6/best, "MB/s")
			if os.Getenv("QLORA_LLAMA") != "" {
				seconds, err := strconv.ParseFloat(strings.TrimSpace(string(ggml(b, typ, x, "100"))), 64)
				require.NoError(b, err)
				b.ReportMetric(float64(4*len(x))/1e6/seconds, "ggml-MB/s")
			}
		})
	}
}
