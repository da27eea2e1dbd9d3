package events

import (
	"encoding/json"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/paging"
)

// A consumer that gets JSON decides by the kind: no two types share one, and each is an object.
func TestEveryKindIsOfItsOwn(t *testing.T) {
	seen := map[string]bool{}
	for _, e := range []Event{
		Info{}, Warning{}, Preparing{}, Load{}, Memory{&paging.Plan{}}, Schedule{}, Reserved{}, Answer{},
		Probabilities{}, Step{}, Eval{}, Checkpoint{}, Done{},
		Reading{}, Encoding{}, Checking{}, Compiling{}, Tuning{}, Estimating{}, Stepping{}, Evaluating{}, Answering{}, Saving{},
	} {
		require.False(t, seen[e.Kind()], e.Kind())
		seen[e.Kind()] = true
		text, err := json.Marshal(e)
		require.NoError(t, err)
		require.True(t, len(text) > 2 && text[0] == '{', "%s: %s", e.Kind(), text)
	}
}

func TestWhatIsNotFiniteIsNull(t *testing.T) {
	text, err := json.Marshal(Step{Step: 3, Loss: math.NaN(), GradNorm: 2})
	require.NoError(t, err)
	var step map[string]any
	require.NoError(t, json.Unmarshal(text, &step))
	require.Nil(t, step["loss"])
	require.Equal(t, 2.0, step["grad_norm"])
	require.Equal(t, 3.0, step["step"])
	text, err = json.Marshal(Eval{Loss: 800, Perplexity: math.Inf(1), Rows: 4})
	require.NoError(t, err)
	var eval map[string]any
	require.NoError(t, json.Unmarshal(text, &eval))
	require.Nil(t, eval["eval_ppl"])
	require.Equal(t, 800.0, eval["eval_loss"])
	text, err = json.Marshal(Probabilities{Step: 1, Sequences: [][]Probability{{NoProbability, 0.5}, {0, 1}}})
	require.NoError(t, err)
	require.JSONEq(t, `{"step": 1, "sequences": [[null, 0.5], [0, 1]]}`, string(text))
}

func TestARunsEndIsTold(t *testing.T) {
	require.Equal(t, "Trained 6 steps in 12 s. At most 3.0 MiB of device memory. 4 pages in, 2 out, 0.5 s stalled. 1 of them made no update.",
		Done{Steps: 6, Skipped: 1, Seconds: 12.3, PeakDeviceBytes: 3 << 20, PageIns: 4, PageOuts: 2, StallSeconds: 0.5}.String())
}

// A clock may show that a step took no time, and a log must hold it nevertheless.
func TestRateByACoarseClock(t *testing.T) {
	require.Equal(t, 35.0, PerSecond(70, 2))
	require.Zero(t, PerSecond(70, 0))
	_, err := json.Marshal(Step{TokensPerSecond: PerSecond(70, 0)})
	require.NoError(t, err)
}
