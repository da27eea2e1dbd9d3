// Plot draws what tools/experiment measured: from qlora.json in a folder the pictures qlora-errors.svg,
// qlora-losses.svg and qlora-training.svg beside it. It is a module of its own, so that the engine does not depend on
// what it draws with.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"image/color"
	"log"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// results are the part of qlora.json that is drawn; see tools/experiment.
type results struct {
	Errors []struct {
		point
		Weights string
		RMS     float64 `json:"relative_rms"`
	}
	Losses []struct {
		point
		Model  string
		Packed bool
		Above  float64 `json:"above_16_bit"`
	}
	Training []struct {
		Model, Base string
		Seed        int
		After       float64 `json:"held_back_after"`
	}
}

// point is a format.
type point struct {
	Type   string
	Block  int
	Double bool
}

// bits are those of a parameter, as tools/experiment counts them.
func (p point) bits() float64 {
	if p.Double {
		return 4 + (8+32.0/256)/float64(p.Block)
	}
	return 4 + 32/float64(p.Block)
}

func main() {
	log.SetFlags(0)
	if len(os.Args) != 2 {
		log.Fatal("usage: plot FOLDER")
	}
	if err := pictures(os.Args[1]); err != nil {
		log.Fatal("error: draw: ", err)
	}
}

// colors are those of a type, or of the base that an adapter was trained over.
var colors = map[string]color.RGBA{
	"NF4": {0, 114, 178, 255}, "FP4": {213, 94, 0, 255}, "E2M1": {230, 159, 0, 255}, "E3M0": {120, 120, 120, 255},
	"Int4": {0, 158, 115, 255}, "16-bit": {0, 0, 0, 255},
}

func pictures(folder string) error {
	data, err := os.ReadFile(filepath.Join(folder, "qlora.json"))
	if err != nil {
		return err
	}
	var r results
	if err := json.Unmarshal(data, &r); err != nil {
		return err
	}
	curves, above := map[point]float64{}, map[point]float64{}
	for _, e := range r.Errors {
		if e.Weights == "all-MiniLM-L6-v2" {
			curves[e.point] = e.RMS
		}
	}
	for _, l := range r.Losses {
		if l.Model == "SmolLM2-135M" && l.Block > 0 && !l.Packed {
			above[l.point] = l.Above
		}
	}
	for name, draw := range map[string]func() (*plot.Plot, error){
		"qlora-errors.svg": func() (*plot.Plot, error) {
			return byBits("Error of a weight, all-MiniLM-L6-v2 in float32", "relative RMS error", curves)
		},
		"qlora-losses.svg": func() (*plot.Plot, error) {
			return byBits("Loss on Wikipedia above 16 bits, SmolLM2-135M", "nats a token", above)
		},
		"qlora-training.svg": r.training,
	} {
		p, err := draw()
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		p.BackgroundColor = color.White // readable on a dark page too
		p.Legend.Padding = vg.Points(2)
		if err := p.Save(16*vg.Centimeter, 10*vg.Centimeter, filepath.Join(folder, name)); err != nil {
			return err
		}
	}
	return nil
}

var blocks = []int{64, 128, 256, 512}

// byBits draws a figure of formats over the bits of a parameter: a line for each type and kind of absmax, through its
// block sizes.
func byBits(title, unit string, figures map[point]float64) (*plot.Plot, error) {
	p := plot.New()
	p.Title.Text, p.Y.Label.Text = title, unit
	p.X.Label.Text = "bits a parameter; blocks of 64, 128, 256, 512 from right to left"
	p.Add(plotter.NewGrid())
	drawn := 0
	for _, kind := range []string{"E3M0", "FP4", "Int4", "E2M1", "NF4"} {
		for _, double := range []bool{false, true} {
			var xys plotter.XYs
			for _, block := range blocks {
				at := point{kind, block, double}
				if y, ok := figures[at]; ok {
					xys = append(xys, plotter.XY{X: at.bits(), Y: y})
				}
			}
			if len(xys) == 0 {
				continue
			}
			drawn++
			line, points, err := plotter.NewLinePoints(xys)
			if err != nil {
				return nil, err
			}
			line.Color, line.Width = colors[kind], vg.Points(1.2)
			points.GlyphStyle = draw.GlyphStyle{Color: colors[kind], Radius: vg.Points(2.5), Shape: draw.RingGlyph{}}
			name := kind + ", absmax in float32"
			if double {
				points.Shape, name = draw.CircleGlyph{}, kind+", double quantization"
			} else {
				line.Dashes = []vg.Length{vg.Points(4), vg.Points(3)}
			}
			p.Add(line, points)
			p.Legend.Add(name, line, points)
		}
	}
	if drawn == 0 {
		return nil, errors.New("nothing was measured")
	}
	p.X.Min, p.X.Max, p.Y.Min, p.Y.Max = 4, 4.95, min(0, p.Y.Min), 1.05*p.Y.Max // room for the legend
	p.Legend.Top = true
	return p, nil
}

// training draws the held-back loss after training, a point for each seed, by the base under the adapter.
func (r results) training() (*plot.Plot, error) {
	p := plot.New()
	p.Title.Text = "Held-back loss after equal steps, embedded model; a point a seed"
	p.Y.Label.Text = "nats a token"
	p.Add(plotter.NewGrid())
	var bases []string
	points := map[string]plotter.XYs{}
	for _, t := range r.Training {
		if t.Model != "embedded model" {
			continue
		}
		if !slices.Contains(bases, t.Base) {
			bases = append(bases, t.Base)
		}
		x := float64(slices.Index(bases, t.Base)) + 0.06*float64(t.Seed-2)
		points[t.Base] = append(points[t.Base], plotter.XY{X: x, Y: t.After})
	}
	if len(bases) == 0 {
		return nil, errors.New("nothing was trained")
	}
	var names []string
	for _, base := range bases {
		kind, _, _ := strings.Cut(base, ",")
		names = append(names, kind)
		scatter, err := plotter.NewScatter(points[base])
		if err != nil {
			return nil, err
		}
		scatter.GlyphStyle = draw.GlyphStyle{Color: colors[kind], Radius: vg.Points(3), Shape: draw.CircleGlyph{}}
		p.Add(scatter)
	}
	p.NominalX(names...)
	p.X.Min, p.X.Max, p.Y.Min = -0.5, float64(len(bases))-0.5, 0
	return p, nil
}
