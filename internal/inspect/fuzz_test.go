//go:build !js

package inspect

import (
	"bytes"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/internal/dataset"
	"qlora-wgpu/internal/usererr"
)

// FuzzFindings attacks a data file up to what is said of it: nothing of a row acts on what shows it, each row is
// counted once, and of rows that are alike one is kept.
func FuzzFindings(f *testing.F) {
	p := text(f)
	for _, bad := range planted {
		row := line(f, bad.turns, bad.more)
		f.Add([]byte(row+row+`{"messages":[{"role":"user","content":"q"},{"role":"assistant","content":"a"}]}`), "jsonl")
	}
	f.Add([]byte("a text\x00 cafÃ© "+harm), "txt")
	f.Add([]byte("prompt,completion\na,b\n"+strings.Repeat("\u200d,{{a}}\n", 30)), "csv")
	f.Fuzz(func(t *testing.T, data []byte, extension string) {
		source, err := dataset.Read(bytes.NewReader(data), "x."+extension)
		if err != nil {
			return
		}
		for _, o := range []Options{{Samples: 2}, {Samples: 2, Text: p, Model: "m", MaxSeqLength: 100}} {
			i := New(o)
			require.NoError(t, i.Source(t.Context(), "train", source))
			require.NoError(t, i.Source(t.Context(), "valid", source))
			found, err := i.Findings()
			require.NoError(t, err)
			var said, page strings.Builder
			require.NoError(t, found.Text(&said, false))
			require.NoError(t, found.HTML(&page))
			for _, shown := range []string{said.String(), page.String()} {
				require.False(t, strings.ContainsFunc(shown, usererr.Hidden))
			}
			rows, learned := source.Len(), 0
			for _, exact := range i.rows.exact[:rows] {
				if exact != 0 {
					learned++
				}
			}
			for _, finding := range found.Findings {
				require.NotEmpty(t, kinds[finding.Kind].rows, finding.Kind)
				require.LessOrEqual(t, finding.Rows, rows)
			}
			kept, left := i.Keep("train", true, math.MaxInt32)
			require.Equal(t, rows, left.Duplicates+left.Near+left.Refused+count(kept))
			kept, left = i.Keep("valid", true, 0)
			require.Equal(t, rows-learned, count(kept), "rows to evaluate that are learned are training rows")
			require.Equal(t, learned, left.Duplicates)
		}
	})
}

func count(kept []bool) (n int) {
	for _, k := range kept {
		if k {
			n++
		}
	}
	return n
}
