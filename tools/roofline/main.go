// Roofline draws what `qlora-wgpu bench kernels --json` measured on a device, from standard input to standard output as
// SVG: each cell by its flops a byte and its speed, below the device's ceilings. It is a module of its own, so that the
// engine does not depend on what it draws with.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"image/color"
	"io"
	"log"
	"math"
	"os"
	"slices"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// bench is the part of the table that is drawn; see trainer.KernelBench.
type bench struct {
	Device   string
	Ceilings struct {
		GFLOPS      float64
		CPUGFLOPS   float64 `json:"cpu_gflops"`
		CopyF32     float64 `json:"copy_f32_gbs"`
		CopyVec4    float64 `json:"copy_vec4_gbs"`
		CopyF32CPU  float64 `json:"copy_f32_cpu_gbs"`
		CopyVec4CPU float64 `json:"copy_vec4_cpu_gbs"`
	}
	Cells []struct {
		Op           string
		Flops, Bytes int64
		GFLOPS       float64
		CPUGFLOPS    float64 `json:"cpu_gflops"`
		Skipped      string
	}
}

func main() {
	log.SetFlags(0)
	if len(os.Args) > 1 {
		log.Fatal("usage: qlora-wgpu bench kernels --json | roofline > device.svg")
	}
	if err := roofline(os.Stdin, os.Stdout); err != nil {
		log.Fatal("error: draw roofline: ", err)
	}
}

// operation is how an operation of the table is drawn.
type operation struct {
	op, name string
	color    color.RGBA
}

// operations are in the order of the legend.
var operations = []operation{
	{"matmul_f32_forward", "float32 product", color.RGBA{120, 120, 120, 255}},
	{"matmul_nf4_forward", "NF4 product, forward", color.RGBA{0, 114, 178, 255}},
	{"matmul_nf4_backward", "NF4 product, dX", color.RGBA{86, 180, 233, 255}},
	{"matmul_forward", "head, forward", color.RGBA{0, 158, 115, 255}},
	{"matmul_backward", "head, dX", color.RGBA{146, 208, 80, 255}},
	{"attention_forward", "attention, forward", color.RGBA{213, 94, 0, 255}},
	{"attention_backward", "attention, backward", color.RGBA{230, 159, 0, 255}},
}

// roofline reads one table and writes one picture.
func roofline(in io.Reader, out io.Writer) error {
	var b bench
	if err := json.NewDecoder(in).Decode(&b); err != nil {
		return fmt.Errorf("what bench kernels --json prints was wanted: %w", err)
	}
	points := map[string]plotter.XYs{}
	low, high := math.Inf(1), 0.0
	byCPU := b.Ceilings.CPUGFLOPS > 0
	for _, c := range b.Cells {
		speed := c.GFLOPS
		if byCPU {
			speed = c.CPUGFLOPS
		}
		if c.Skipped != "" || speed <= 0 || c.Bytes <= 0 || c.Flops <= 0 {
			continue
		}
		if !slices.ContainsFunc(operations, func(o operation) bool { return o.op == c.Op }) {
			return fmt.Errorf("operation %q has no colour", c.Op)
		}
		at := plotter.XY{X: float64(c.Flops) / float64(c.Bytes), Y: speed}
		points[c.Op] = append(points[c.Op], at)
		low, high = min(low, at.X), max(high, at.X)
	}
	if byCPU {
		b.Ceilings.GFLOPS, b.Ceilings.CopyF32, b.Ceilings.CopyVec4 = b.Ceilings.CPUGFLOPS, b.Ceilings.CopyF32CPU, b.Ceilings.CopyVec4CPU
	}
	if len(points) == 0 || b.Ceilings.GFLOPS <= 0 || b.Ceilings.CopyVec4 <= 0 || b.Ceilings.CopyF32 <= 0 {
		return errors.New("the table has no measured cell, or no ceilings")
	}
	return picture(b, points, low, high, byCPU, out)
}

// picture draws the points below the ceilings, which are lines in logarithmic scales.
func picture(b bench, points map[string]plotter.XYs, low, high float64, byCPU bool, out io.Writer) error {
	p := plot.New()
	p.Title.Text = strings.ReplaceAll(b.Device, " (cpu, vulkan)", ", software Vulkan")
	p.X.Label.Text = "flops a byte of operands and result"
	p.Y.Label.Text = "GFLOP/s"
	if byCPU {
		p.Y.Label.Text = "GFLOP/s, by CPU time"
	}
	p.X.Scale, p.Y.Scale = plot.LogScale{}, plot.LogScale{}
	p.X.Tick.Marker, p.Y.Tick.Marker = plot.LogTicks{Prec: -1}, plot.LogTicks{Prec: -1}
	p.Add(plotter.NewGrid())
	fma := b.Ceilings.GFLOPS
	knee := fma / b.Ceilings.CopyVec4
	low, high = min(low, knee)/2, max(high, fma/b.Ceilings.CopyF32)*2
	for _, ceiling := range []struct {
		name   string
		copied float64
		dashes []vg.Length
	}{
		{"multiply-adds; copy by vec4", b.Ceilings.CopyVec4, nil}, {
			"copy by float32", b.Ceilings.CopyF32, []vg.Length{vg.Points(4), vg.Points(3)},
		},
	} {
		roof, err := plotter.NewLine(plotter.XYs{{X: low, Y: low * ceiling.copied}, {X: fma / ceiling.copied, Y: fma}, {X: high, Y: fma}})
		if err != nil {
			return err
		}
		roof.Width, roof.Dashes = vg.Points(1.5), ceiling.dashes
		p.Add(roof)
		p.Legend.Add(fmt.Sprintf("%s, %.1f GB/s", ceiling.name, ceiling.copied), roof)
	}
	for _, o := range operations {
		if len(points[o.op]) == 0 {
			continue
		}
		scatter, err := plotter.NewScatter(points[o.op])
		if err != nil {
			return err
		}
		scatter.GlyphStyle = draw.GlyphStyle{Color: o.color, Radius: vg.Points(2.5), Shape: draw.CircleGlyph{}}
		p.Add(scatter)
		p.Legend.Add(o.name, scatter)
	}
	least := fma
	for _, xys := range points {
		for _, at := range xys {
			least = min(least, at.Y)
		}
	}
	p.X.Min, p.X.Max, p.Y.Min, p.Y.Max = low, high, least/6, fma*1.3 // room for the legend below
	p.Legend.Padding = vg.Points(2)
	p.Legend.Top, p.Legend.Left = false, false
	p.Legend.XOffs, p.Legend.YOffs = -vg.Points(6), vg.Points(6)
	p.BackgroundColor = color.White
	svg, err := p.WriterTo(18*vg.Centimeter, 12*vg.Centimeter, "svg")
	if err != nil {
		return err
	}
	_, err = svg.WriteTo(out)
	return err
}
