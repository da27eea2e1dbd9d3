//go:build !js

package main

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// paper are the mean perplexities of its table 2: OPT, BLOOM, LLaMA and Pythia of 125M to 13B on Pile Common Crawl.
var paper = []struct {
	name       string
	perplexity float64
}{{"Int4", 34.34}, {"E2M1", 31.07}, {"E3M0", 29.48}, {"NF4", 27.41}}

// tables are the results as docs/qlora.md has them: lines of Markdown, in tables with empty lines between.
func (r results) tables() (lines []string) {
	for _, table := range [][]string{r.bitsTable(), r.errorTable(), r.blockTable(), r.lossTable(), r.paperTable(), r.trainTable()} {
		lines = append(append(lines, table...), "")
	}
	return lines
}

// table is a head, and rows of cells.
func table(head string, rows [][]string) (lines []string) {
	lines = append(lines, "| "+head+" |", "|"+strings.Repeat("---|", strings.Count(head, "|")+1))
	for _, row := range rows {
		lines = append(lines, "| "+strings.Join(row, " | ")+" |")
	}
	return lines
}

func cell(digits int, x rounded) string { return strconv.FormatFloat(float64(x), 'f', digits, 64) }

// bitsTable is what a parameter takes.
func (r results) bitsTable() []string {
	var rows [][]string
	for _, block := range blocks {
		single, double := format{typeNF4, block, false}.bits(), format{typeNF4, block, true}.bits()
		rows = append(rows, []string{
			strconv.Itoa(block), cell(3, rounded(single)), cell(3, rounded(double)), cell(3, rounded(single-double)),
		})
	}
	return table("block | absmax in float32 | double quantization | saved", rows)
}

// find gives the row of an error.
func (r results) find(weights, kind string, block int, double bool) errorRow {
	i := slices.IndexFunc(r.Errors, func(e errorRow) bool {
		return e.Weights == weights && e.Type == kind && e.Block == block && e.Double == double
	})
	if i < 0 {
		return errorRow{RMS: rounded(math.NaN()), Mean: rounded(math.NaN())}
	}
	return r.Errors[i]
}

// networks are whose weights were measured, in their order.
func (r results) networks() (names []string) {
	for _, e := range r.Errors {
		if !slices.Contains(names, e.Weights) {
			names = append(names, e.Weights)
		}
	}
	return names
}

// errorTable compares types at the paper's block size.
func (r results) errorTable() []string {
	var rows [][]string
	for _, t := range types {
		row := []string{t.Name}
		for _, name := range r.networks() {
			e := r.find(name, t.Name, 64, true)
			row = append(row, cell(4, e.RMS)+", "+cell(4, e.Mean))
		}
		rows = append(rows, row)
	}
	return table("blocks of 64, DQ | "+strings.Join(r.networks(), " | "), rows)
}

// blockTable is the relative RMS error by block size, without and with double quantization.
func (r results) blockTable() []string {
	var rows [][]string
	for _, t := range types {
		for _, name := range []string{minilmName, smolName} {
			row := []string{t.Name, name}
			for _, block := range blocks {
				row = append(row, cell(4, r.find(name, t.Name, block, false).RMS)+", "+cell(4, r.find(name, t.Name, block, true).RMS))
			}
			rows = append(rows, row)
		}
	}
	return table("type | weights | 64: without, with DQ | 128 | 256 | 512", rows)
}

// lossTable is the evaluation loss of a model above that in 16 bits.
func (r results) lossTable() []string {
	var rows [][]string
	for _, l := range r.Losses {
		how := "float32 absmax"
		switch {
		case l.Type == sixteenBit:
			how = ""
		case l.Packed:
			how = "DQ, packed: the engine's NF4"
		case l.Double:
			how = "DQ"
		}
		block := ""
		if l.Block > 0 {
			block = strconv.Itoa(l.Block)
		}
		difference := "0"
		if l.Type != sixteenBit {
			difference = fmt.Sprintf("%+.4f ± %.4f", float64(l.Above), float64(l.Spread))
		}
		rows = append(rows, []string{
			l.Model, l.Type, block, how, cell(4, l.Loss), difference, fmt.Sprintf("%.3f", math.Exp(float64(l.Loss))),
		})
	}
	return table("model | type | block | absmax | loss | above 16-bit | perplexity", rows)
}

// above finds by how much a type with double quantization in blocks of 64 is above 16 bits.
func (r results) above(model, kind string) string {
	i := slices.IndexFunc(r.Losses, func(l lossRow) bool {
		return l.Model == model && l.Type == kind && l.Block == 64 && l.Double && !l.Packed
	})
	if i < 0 {
		return "not measured"
	}
	return fmt.Sprintf("%+.4f", float64(r.Losses[i].Above))
}

// paperTable compares types as the paper does: in logarithms of perplexity, which are losses.
func (r results) paperTable() []string {
	least := paper[len(paper)-1].perplexity
	var rows [][]string
	for _, p := range paper {
		rows = append(rows, []string{
			p.name, fmt.Sprintf("%.2f", p.perplexity), fmt.Sprintf("%+.3f", math.Log(p.perplexity/least)), r.above(smolName, p.name),
			r.above(smallName, p.name),
		})
	}
	rows = append(rows, []string{"FP4", "", "", r.above(smolName, "FP4"), r.above(smallName, "FP4")})
	return table("type | paper: mean perplexity | paper: loss above NF4 + DQ | "+smolName+": loss above 16-bit | "+smallName+
		": loss above 16-bit", rows)
}

// trainTable is the held-back loss after training, and its difference to the run of the same seed over 16 bits.
func (r results) trainTable() []string {
	type key struct{ model, base string }
	var keys []key
	runs := map[key][]trainRow{}
	for _, t := range r.Training {
		k := key{t.Model, t.Base}
		if runs[k] == nil {
			keys = append(keys, k)
		}
		runs[k] = append(runs[k], t)
	}
	var rows [][]string
	for _, k := range keys {
		after, difference := sample{}, sample{}
		for i, t := range runs[k] {
			after = append(after, float64(t.After))
			difference = append(difference, float64(t.After-runs[key{k.model, sixteenBit}][i].After))
		}
		apart := "0"
		if k.base != sixteenBit {
			apart = fmt.Sprintf("%+.4f ± %.4f", difference.mean(), difference.deviation())
		}
		first := runs[k][0]
		rows = append(rows, []string{
			k.model, k.base, fmt.Sprintf("%d × %d", len(after), first.Steps), cell(4, first.Before),
			fmt.Sprintf("%.4f ± %.4f", after.mean(), after.deviation()), apart,
		})
	}
	return table("model | base | seeds × steps | held back before | after | above 16-bit, same seed", rows)
}

// sample are figures of several seeds.
type sample []float64

func (s sample) mean() (m float64) {
	for _, v := range s {
		m += v / float64(len(s))
	}
	return m
}

// deviation is the standard deviation of one.
func (s sample) deviation() (d float64) {
	for _, v := range s {
		d += (v - s.mean()) * (v - s.mean()) / float64(len(s)-1)
	}
	return math.Sqrt(d)
}
