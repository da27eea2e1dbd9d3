package reference

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestPackBF16(t *testing.T) {
	for _, c := range []struct {
		bits uint32
		want uint16
	}{
		{0, 0}, {0x80000000, 0x8000}, {0x3f800000, 0x3f80},
		// halfway, a little more, halfway from an odd code
		{0x3f808000, 0x3f80}, {0x3f808001, 0x3f81}, {0x3f818000, 0x3f82}, {0xbf818000, 0xbf82},
		{0x00000001, 0}, {0x00018000, 2}, {0x007fffff, 0x0080}, // denormals
		{0x7f7f7fff, 0x7f7f}, {0x7f7f8000, 0x7f80}, {0xff7fffff, 0xff80}, // the largest, and beyond
		{0x7f800000, 0x7f80}, {0xff800000, 0xff80}, {0x7fc00000, 0x7fc0}, {0xff800001, 0xffc0}, {0x7fffffff, 0x7fff},
	} {
		require.Equal(t, c.want, PackBF16([]float32{math.Float32frombits(c.bits)})[0], "%08x", c.bits)
	}
}
