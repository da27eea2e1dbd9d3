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
var paper = map[string]float64{"Int4": 34.34, "E2M1": 31.07, "E3M0": 29.48, "NF4": 27.41}

// tables are the results as docs/qlora.md has them: lines of Markdown, in tables with empty lines between.
func (r results) tables() (lines []string) {
	for _, table := range [][]string{
		r.bitsTable(), r.errorTable(), r.blockTable(), r.baseTable(), r.lossTable(), r.paperTable(), r.trainTable(),
	} {
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
	return table("type | weights | 64: without, with DQ | 128 | 256 | 512 | 4096", rows)
}

// loss gives the row of a model in 16 bits, or through a format; nil: it was not measured.
func (r results) loss(model, kind string, block int, double, packed bool) *lossRow {
	for _, l := range r.Losses {
		if l.Model == model && l.Type == kind && l.Block == block && l.Double == double && l.Packed == packed {
			return &l
		}
	}
	return nil
}

// baseTable is what the differences are to, and NF4 as the engine keeps it beside NF4 as all types were measured.
func (r results) baseTable() []string {
	var rows [][]string
	for _, l := range r.Losses {
		if l.Type != sixteenBit {
			continue
		}
		row := []string{l.Model, fmt.Sprintf("%s, %d rows, %d tokens", l.Data, l.Rows, l.Tokens)}
		for _, l := range []*lossRow{&l, r.loss(l.Model, typeNF4.Name, 64, true, true), r.loss(l.Model, typeNF4.Name, 64, true, false)} {
			if l == nil {
				row = append(row, "")
				continue
			}
			row = append(row, fmt.Sprintf("%.4f (%.3f)", float64(l.Loss), math.Exp(float64(l.Loss))))
		}
		rows = append(rows, row)
	}
	return table("model | data | 16-bit: loss (perplexity) | NF4, packed by the engine | NF4, through it on the host", rows)
}

// lossTable is the loss above that in 16 bits, by block size, without and with double quantization.
func (r results) lossTable() []string {
	var rows [][]string
	for _, model := range []string{smolName, smallName} {
		for _, t := range types {
			row := []string{model, t.Name}
			for _, block := range blocks {
				cell := ""
				if l := r.loss(model, t.Name, block, false, false); l != nil {
					cell = fmt.Sprintf("%+.4f, ", float64(l.Above))
				}
				if l := r.loss(model, t.Name, block, true, false); l != nil {
					cell += fmt.Sprintf("%+.4f", float64(l.Above))
					if l.Spread > 0 {
						cell += fmt.Sprintf(" ± %.4f", float64(l.Spread))
					}
				}
				row = append(row, cell)
			}
			rows = append(rows, row)
		}
	}
	return table("model | type | 64: without, with DQ | 128 | 256 | 512 | 4096", rows)
}

// paperTable compares types as the paper does, in logarithms of perplexity, which are losses: each above NF4's.
func (r results) paperTable() []string {
	above := func(model, kind string, block int) string {
		l, least := r.loss(model, kind, block, true, false), r.loss(model, typeNF4.Name, block, true, false)
		if l == nil || least == nil {
			return ""
		}
		return fmt.Sprintf("%+.4f", float64(l.Loss-least.Loss))
	}
	var rows [][]string
	for _, t := range []*dataType{typeInt4, typeFP4, typeE2M1, typeE3M0, typeNF4} {
		row := []string{t.Name, "", ""}
		if p := paper[t.Name]; p > 0 {
			row[1], row[2] = fmt.Sprintf("%.2f", p), fmt.Sprintf("%+.3f", math.Log(p/paper[typeNF4.Name]))
		}
		for _, model := range []string{smolName, smallName} {
			row = append(row, above(model, t.Name, 64), above(model, t.Name, 4096))
		}
		rows = append(rows, row)
	}
	head := "DQ | paper: perplexity | paper: loss above NF4 | %s, blocks of 64 | of 4096 | %s, 64 | 4096"
	return table(fmt.Sprintf(head, smolName, smallName), rows)
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
			k.model, k.base, fmt.Sprintf("%d × %d", len(after), first.Steps), cell(4, rounded(first.Before)),
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
