package events

import (
	"encoding/json"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// However many goroutines do the work, what is told grows to the total.
func TestMeterGrowsToItsTotal(t *testing.T) {
	const workers, each = 8, 500
	var told []Part
	m := NewMeter(workers*each, func(p Part) { told = append(told, p) }).Begin()
	var group sync.WaitGroup
	for range workers {
		group.Go(func() {
			for range each {
				m.Add(1)
			}
		})
	}
	group.Wait()
	m.End()
	m.End()
	require.Equal(t, Part{0, workers * each}, told[0])
	for i, p := range told[1:] {
		require.Greater(t, p.Done, told[i].Done)
		require.Equal(t, int64(workers*each), p.Total)
	}
	require.Equal(t, Part{workers * each, workers * each}, told[len(told)-1])
}

// Work that was estimated too small is at most done, and what was too large comes to its end.
func TestMeterOfAnEstimate(t *testing.T) {
	for _, parts := range []int64{7, 13} {
		var told []Part
		m := NewMeter(10, func(p Part) { told = append(told, p) }).Begin()
		m.last = time.Time{} // long ago
		m.Add(parts)
		m.End()
		require.Equal(t, Part{min(parts, 10), 10}, told[1])
		require.Equal(t, Part{10, 10}, told[len(told)-1])
	}
}

// What takes no time is not told.
func TestMeterOfNothingMuch(t *testing.T) {
	m := NewMeter(2, func(Part) { t.Error("told") })
	m.last = time.Now().Add(time.Hour)
	m.Add(1)
	m.Add(1)
	m.End()
}

func TestProgressTellsItsNumbers(t *testing.T) {
	for text, e := range map[string]Progress{
		"Turning rows into tokens: 3 of 4":                         Encoding{Part: Part{3, 4}},
		"Turning rows into tokens: 30 of 400, 10 rows/s, 37s left": Encoding{Part{30, 400}, 10},
		"Reading a.jsonl: 1.0 of 3.0 MB, 0.5 MB/s, 4s left":        Reading{Part{1e6, 3e6}, "a.jsonl", 5e5},
		"Fetching a/b: 3.0 of 9.0 MB, 2.0 MB/s, 3s left":           Fetching{Part{3e6, 9e6}, "a/b", 2e6},
		"Fetching a/b: 9.0 of 9.0 MB":                              Fetching{Part{9e6, 9e6}, "a/b", 2e6},
		"Checking the kernels: 3 of 4":                             Checking{Part{3, 4}},
		"Compiling shaders: 3 of 4":                                Compiling{Part{3, 4}},
		"Measuring kernels: 3 of 4":                                Tuning{Part{3, 4}},
		"Loading the model":                                        Load{},
		"Loading the model: 12 %":                                  Load{Part{3, 4}, 1, 8},
		"Estimating the time: 3 of 4":                              Estimating{Part{3, 4}},
		"Step 7: 75 %":                                             Stepping{Part{3, 4}, 7},
		"Evaluating: row 3 of 4":                                   Evaluating{Part{3, 4}},
		"Answering: 4 of 4":                                        Answering{Part: Part{3, 4}},
		"Saving step 7: 75 %":                                      Saving{Part{3, 4}, 7},
	} {
		require.Equal(t, text, e.String())
		var fields map[string]any
		written, err := json.Marshal(e)
		require.NoError(t, err)
		require.NoError(t, json.Unmarshal(written, &fields))
		done, total := e.Progress()
		require.Equal(t, []any{float64(done), float64(total)}, []any{fields["done"], fields["total"]}, text)
	}
	require.Equal(t, "Answering: 4 of 4", Answering{Part: Part{4, 4}}.String())
}
