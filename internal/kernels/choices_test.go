package kernels

import (
	cli "flag"
	"fmt"
	"os"
	"strings"
	"testing"

	testify "github.com/stretchr/testify/require"

	"qlora-wgpu/gpu"
)

var update = cli.Bool("update", false, "write testdata/choices.txt anew")

// chosen is, from where on in tokens, which variant runs for a cell on a device that has measured nothing.
func chosen[A arguments](o *operation[A], dev *gpu.Device, c Cell) string {
	var out []string
	last := ""
	for _, tokens := range []int{1, 2, 4, 5, 8, 9, 16, 17, 32, 33, 340, 342, 512, 513, 2048} {
		c.T = tokens
		if name := o.choose(dev, o.operands(&maker{dev: dev}, c)).Name; name != last {
			out = append(out, fmt.Sprintf("%d %s", tokens, name))
			last = name
		}
	}
	return strings.Join(out, ", ")
}

// The variants that the rules choose, by device and tokens, are what testdata says: a change of a rule is seen there.
func TestChoices(t *testing.T) {
	browser := gpu.NewDry(gpu.Options{})
	browser.Info.Backend = "browser"
	var lines []string
	for _, d := range []struct {
		name string
		dev  *gpu.Device
	}{{"cpu", gpu.NewDry(gpu.Options{})}, {"cpu in a browser", browser}, {"gpu", gpu.NewDryDiscrete()}} {
		for _, of := range tables {
			shapes := []Cell{{N: 16, K: 576}, {N: 576, K: 16}, {N: 192, K: 576}, {N: 576, K: 1536}}
			if of == table(attentionForward) || of == table(attentionBackward) {
				shapes = []Cell{{Heads: 9, KVHeads: 3, HeadDim: 64}, {Heads: 2, KVHeads: 1, HeadDim: 256}}
			}
			for _, c := range shapes {
				c.Op = of.title()
				line := func(c Cell, choices string) {
					_, shape, _ := strings.Cut(c.String(), " T0 ")
					lines = append(lines, fmt.Sprintf("%s: %s %s: %s", d.name, of.title(), shape, choices))
				}
				switch o := of.(type) {
				case *operation[product]:
					line(c, chosen(o, d.dev, c))
					c.Op = BenchF32Forward
					line(c, chosen(o, d.dev, c)+" (weights in float32)")
				case *operation[nf4Product]:
					line(c, chosen(o, d.dev, c))
				case *operation[attention]:
					line(c, chosen(o, d.dev, c))
				}
			}
		}
	}
	got := strings.Join(lines, "\n") + "\n"
	if *update {
		testify.NoError(t, os.WriteFile("testdata/choices.txt", []byte(got), 0o644))
	}
	want, err := os.ReadFile("testdata/choices.txt")
	testify.NoError(t, err)
	testify.Equal(t, string(want), got)
}
