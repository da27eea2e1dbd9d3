package kernels

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"qlora-wgpu/gpu"
)

// tuneFlops bounds the work of one measurement, so that a slow candidate on a slow device costs a fraction of a second.
// A fast GPU, which that does not fill, gets more.
func tuneFlops(dev *gpu.Device) int {
	if kindOf(dev)&cpus != 0 {
		return 1 << 28
	}
	return 1 << 32
}

// sample is how many tokens and rows of a product decide for all of it: a part of a tall matrix, and on a CPU device no
// more tokens than every tile divides.
func (c Cell) sample(dev *gpu.Device) Cell {
	least := 64
	if kindOf(dev)&cpus != 0 {
		c.T, least = min(c.T, 128), 256 // all tiles are full, and there are enough of them for the cores
	}
	c.N = min(c.N, max(least, tuneFlops(dev)/(2*c.T*c.K)/least*least))
	return c
}

// enough tells whether a measurement of so long and so many output elements says how fast a GPU is.
func enough(took Took, outputs int) bool {
	return took.Seconds >= 20e-3 || took.Seconds >= 2e-3 && outputs >= 1<<22
}

// tunedShape is a product of T tokens, N rows and K columns that wants a choice, or has got one.
type tunedShape struct {
	Cell
	class string
	nth   int // of its operation's
	best  string
}

func (s tunedShape) key() string { return s.Op + " " + s.class }

// rank is an operation's place among the tables, -1 where it is not measured.
func rank(op string) int {
	return slices.IndexFunc(tables, func(t table) bool { return t.title() == op && t.measured() })
}

// wantedShapes are those to measure: one of every operation before the second of any, since a shape can take another's
// choice. Left out are LoRA's products and single tokens, too small to measure, or for it to matter.
func wantedShapes(wanted []string) (shapes []tunedShape) {
	count := map[string]int{}
	for _, key := range wanted {
		op, class, _ := strings.Cut(key, " ")
		s := tunedShape{Cell: Cell{Op: op}, class: class, nth: count[op]}
		if _, err := fmt.Sscanf(class, "T%d N%d K%d", &s.T, &s.N, &s.K); err != nil || rank(op) < 0 || s.T < 16 || min(s.N, s.K) < 64 {
			continue
		}
		count[op]++
		shapes = append(shapes, s)
	}
	slices.SortStableFunc(shapes, func(a, b tunedShape) int {
		return cmp.Or(a.nth-b.nth, rank(a.Op)-rank(b.Op))
	})
	return shapes
}

// alike is the choice of the measured shape of the same operation whose sizes are nearest by their ratios; empty
// without one.
func (s tunedShape) alike(measured []tunedShape) (best string) {
	far := func(a, b int) float64 { return math.Abs(math.Log(float64(a) / float64(b))) }
	nearest := math.Inf(1)
	for _, m := range measured {
		if distance := far(s.T, m.T) + far(s.N, m.N) + far(s.K, m.K); m.Op == s.Op && m.best != "" && distance < nearest {
			best, nearest = m.best, distance
		}
	}
	return best
}
