//go:build !js

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"slices"
	"strings"
)

// results are what docs/qlora.json holds: each part as it was last measured.
type results struct {
	Errors   []errorRow `json:"errors"`
	Losses   []lossRow  `json:"losses"`
	Training []trainRow `json:"training"`
}

// errorRow is a format on the matrices of a network.
type errorRow struct {
	Weights string  `json:"weights"`
	Count   int     `json:"count"` // of the weights
	Type    string  `json:"type"`
	Block   int     `json:"block"`
	Double  bool    `json:"double"`
	Bits    float64 `json:"bits"` // of a parameter
	RMS     rounded `json:"relative_rms"`
	Mean    rounded `json:"relative_mean"`
}

// lossRow is a model whose linears went through a format, on a data set.
type lossRow struct {
	Model  string `json:"model"`
	Data   string `json:"data"`
	Rows   int    `json:"rows"`
	Tokens int64  `json:"tokens"` // that count
	Type   string `json:"type"`   // 16-bit: of no format
	Block  int    `json:"block,omitempty"`
	Double bool   `json:"double,omitempty"`
	Packed bool   `json:"packed,omitempty"` // by the kernels for NF4, which keep the codes
	Loss   nats   `json:"loss"`
	Above  nats   `json:"above_16_bit"`
	// standard error of that, over rows: those of both are of the same rows; 0: of 16 bits, or not kept
	Spread nats `json:"standard_error,omitempty"`
}

// trainRow is a run.
type trainRow struct {
	Model  string `json:"model"`
	Base   string `json:"base"` // 16-bit, or the name of a format
	Seed   uint64 `json:"seed"`
	Steps  int    `json:"steps"`
	Before nats   `json:"held_back_before"`
	After  nats   `json:"held_back_after"`
}

const sixteenBit = "16-bit"

func (l lossRow) of() string  { return l.Model }
func (t trainRow) of() string { return t.Model }

// replaced takes rows in the place of those of the same model, and orders them by models.
func replaced[T interface{ of() string }](old, rows []T) []T {
	kept := slices.DeleteFunc(slices.Clone(old), func(o T) bool { return len(rows) > 0 && o.of() == rows[0].of() })
	kept = append(kept, rows...)
	slices.SortStableFunc(kept, func(a, b T) int { return strings.Compare(a.of(), b.of()) })
	return kept
}

// rounded is written with six decimals.
type rounded float64

func (r rounded) MarshalJSON() ([]byte, error) { return json.Marshal(math.Round(float64(r)*1e6) / 1e6) }

// nats are a loss, written with four decimals.
type nats float64

func (n nats) MarshalJSON() ([]byte, error) { return json.Marshal(math.Round(float64(n)*1e4) / 1e4) }

// readResults reads what was measured before; nothing, where nothing was.
func readResults(name string) (r results, err error) {
	data, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return r, nil
	}
	if err == nil {
		err = json.Unmarshal(data, &r)
	}
	return r, err
}

// write puts a row on a line.
func (r results) write(name string) error {
	out := []byte("{\n")
	for i, part := range []struct {
		key  string
		rows []any
	}{{"errors", list(r.Errors)}, {"losses", list(r.Losses)}, {"training", list(r.Training)}} {
		if i > 0 {
			out = append(out, ",\n"...)
		}
		out = fmt.Appendf(out, "%q: [", part.key)
		for i, row := range part.rows {
			line, err := json.Marshal(row)
			if err != nil {
				return err
			}
			if i > 0 {
				out = append(out, ',')
			}
			out = append(append(out, '\n'), line...)
		}
		out = append(out, "\n]"...)
	}
	return os.WriteFile(name, append(out, "\n}\n"...), 0o666)
}

func list[T any](rows []T) (out []any) {
	for _, row := range rows {
		out = append(out, row)
	}
	return out
}
