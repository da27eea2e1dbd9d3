package gpu

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// Of the two neighbours the nearer one, and of two equally near ones that whose last bit is 0.
func TestPutBFloat16(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 0))
	x := []float32{
		0, float32(math.Copysign(0, -1)), 1, float32(math.Inf(-1)), math.MaxFloat32, float32(math.NaN()), math.SmallestNonzeroFloat32,
	}
	for range 1 << 12 {
		bits := random.Uint32()
		switch random.IntN(3) {
		case 0: // a tie
			bits = bits&0xffff0000 | 0x8000
		case 1: // a NaN whose leading bits alone would be an infinity
			bits = bits&0x800000ff | 0x7f800001
		}
		x = append(x, math.Float32frombits(bits))
	}
	for _, n := range []int{0, 1, 15, 16, 17, len(x)} {
		dst := make([]byte, 2*n)
		PutBFloat16(dst, x[:n])
		for i, v := range x[:n] {
			bits := binary.LittleEndian.Uint16(dst[2*i:])
			got := math.Float32frombits(uint32(bits) << 16)
			if v != v {
				require.True(t, got != got)
				continue
			}
			low := math.Float32bits(v) >> 16 << 16
			down, up := math.Float32frombits(low), float64(math.Float32frombits(low+1<<16))
			if low<<1 == 0xfe<<24|0xfe<<16 { // beyond the largest, as if exponents went on
				up = math.Copysign(0x1p128, up)
			}
			toDown, toUp := math.Abs(float64(v)-float64(down)), math.Abs(up-float64(v))
			if math.IsInf(float64(v), 0) || toDown < toUp || toDown == toUp && low>>16&1 == 0 {
				require.Equal(t, low>>16, uint32(bits), "%x", math.Float32bits(v))
			} else {
				require.Equal(t, low>>16+1, uint32(bits), "%x", math.Float32bits(v))
			}
		}
	}
}
