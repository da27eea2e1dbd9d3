package trainer

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// The values were computed in Python by the lambdas of transformers' optimization.py, base rate 2e-4:
// {type, steps, warmup_steps, warmup_ratio, warm-up that follows, rate by finished steps}.
func TestScheduleEqualsTransformers(t *testing.T) {
	for _, test := range []struct {
		kind        string
		total       int
		warmupSteps int
		warmupRatio float64
		warmup      int
		rates       map[int]float64
	}{
		{"constant", 30, 0, 0.03, 1, map[int]float64{0: 0.0002, 1: 0.0002, 2: 0.0002, 15: 0.0002, 29: 0.0002, 30: 0.0002, 33: 0.0002}},
		{
			"constant", 100, 0, 0.03, 3,
			map[int]float64{0: 0.0002, 1: 0.0002, 2: 0.0002, 3: 0.0002, 4: 0.0002, 50: 0.0002, 99: 0.0002, 100: 0.0002, 103: 0.0002},
		},
		{
			"constant", 100, 10, 0.03, 10,
			map[int]float64{0: 0.0002, 1: 0.0002, 2: 0.0002, 9: 0.0002, 10: 0.0002, 11: 0.0002, 50: 0.0002, 99: 0.0002, 100: 0.0002, 103: 0.0002},
		},
		{"constant", 7, 0, 0, 0, map[int]float64{0: 0.0002, 1: 0.0002, 2: 0.0002, 3: 0.0002, 6: 0.0002, 7: 0.0002, 10: 0.0002}},
		{"constant", 5, 5, 0, 5, map[int]float64{0: 0.0002, 1: 0.0002, 2: 0.0002, 4: 0.0002, 5: 0.0002, 6: 0.0002, 8: 0.0002}},
		{"constant", 1, 0, 0.03, 1, map[int]float64{0: 0.0002, 1: 0.0002, 2: 0.0002, 4: 0.0002}},
		{"constant_with_warmup", 30, 0, 0.03, 1, map[int]float64{0: 0.0, 1: 0.0002, 2: 0.0002, 15: 0.0002, 29: 0.0002, 30: 0.0002, 33: 0.0002}},
		{"constant_with_warmup", 100, 0, 0.03, 3, map[int]float64{
			0: 0.0, 1: 6.666666666666667e-05, 2: 0.00013333333333333334, 3: 0.0002, 4: 0.0002, 50: 0.0002, 99: 0.0002, 100: 0.0002, 103: 0.0002,
		}},
		{
			"constant_with_warmup", 100, 10, 0.03, 10,
			map[int]float64{0: 0.0, 1: 2e-05, 2: 4e-05, 9: 0.00018, 10: 0.0002, 11: 0.0002, 50: 0.0002, 99: 0.0002, 100: 0.0002, 103: 0.0002},
		},
		{"constant_with_warmup", 7, 0, 0, 0, map[int]float64{0: 0.0002, 1: 0.0002, 2: 0.0002, 3: 0.0002, 6: 0.0002, 7: 0.0002, 10: 0.0002}},
		{"constant_with_warmup", 5, 5, 0, 5, map[int]float64{0: 0.0, 1: 4e-05, 2: 8e-05, 4: 0.00016, 5: 0.0002, 6: 0.0002, 8: 0.0002}},
		{"constant_with_warmup", 1, 0, 0.03, 1, map[int]float64{0: 0.0, 1: 0.0002, 2: 0.0002, 4: 0.0002}},
		{
			"linear", 30, 0, 0.03, 1,
			map[int]float64{0: 0.0, 1: 0.0002, 2: 0.0001931034482758621, 15: 0.00010344827586206898, 29: 6.896551724137932e-06, 30: 0.0, 33: 0.0},
		},
		{"linear", 100, 0, 0.03, 3, map[int]float64{
			0: 0.0, 1: 6.666666666666667e-05, 2: 0.00013333333333333334, 3: 0.0002, 4: 0.00019793814432989693, 50: 0.00010309278350515463,
			99: 2.061855670103093e-06, 100: 0.0, 103: 0.0,
		}},
		{"linear", 100, 10, 0.03, 10, map[int]float64{
			0: 0.0, 1: 2e-05, 2: 4e-05, 9: 0.00018, 10: 0.0002, 11: 0.00019777777777777778, 50: 0.00011111111111111112, 99: 2.2222222222222225e-06,
			100: 0.0, 103: 0.0,
		}},
		{"linear", 7, 0, 0, 0, map[int]float64{
			0: 0.0002, 1: 0.00017142857142857143, 2: 0.00014285714285714287, 3: 0.00011428571428571428, 6: 2.857142857142857e-05, 7: 0.0, 10: 0.0,
		}},
		{"linear", 5, 5, 0, 5, map[int]float64{0: 0.0, 1: 4e-05, 2: 8e-05, 4: 0.00016, 5: 0.0, 6: 0.0, 8: 0.0}},
		{"linear", 1, 0, 0.03, 1, map[int]float64{0: 0.0, 1: 0.0, 2: 0.0, 4: 0.0}},
		{"cosine", 30, 0, 0.03, 1, map[int]float64{
			0: 0.0, 1: 0.0002, 2: 0.00019941379571543596, 15: 0.00010541389085854176, 29: 5.862042845640403e-07, 30: 0.0, 33: 5.2346828817197545e-06,
		}},
		{"cosine", 100, 0, 0.03, 3, map[int]float64{
			0: 0.0, 1: 6.666666666666667e-05, 2: 0.00013333333333333334, 3: 0.0002, 4: 0.00019994755690455152, 50: 0.00010485622221144484,
			99: 5.2443095448506674e-08, 100: 0.0, 103: 4.716578833385943e-07,
		}},
		{"cosine", 100, 10, 0.03, 10, map[int]float64{
			0: 0.0, 1: 2e-05, 2: 4e-05, 9: 0.00018, 10: 0.0002, 11: 0.0001999390827019096, 50: 0.00011736481776669306, 99: 6.09172980904238e-08,
			100: 0.0, 103: 5.478104631726711e-07,
		}},
		{"cosine", 7, 0, 0, 0, map[int]float64{
			0: 0.0002, 1: 0.0001900968867902419, 2: 0.00016234898018587337, 3: 0.00012225209339563145, 6: 9.903113209758096e-06, 7: 0.0,
			10: 7.774790660436855e-05,
		}},
		{"cosine", 5, 5, 0, 5, map[int]float64{0: 0.0, 1: 4e-05, 2: 8e-05, 4: 0.00016, 5: 0.0002, 6: 0.0, 8: 0.0}},
		{"cosine", 1, 0, 0.03, 1, map[int]float64{0: 0.0, 1: 0.0002, 2: 0.0, 4: 0.0}},
	} {
		c := Defaults()
		c.LRSchedulerType, c.WarmupSteps, c.WarmupRatio = test.kind, test.warmupSteps, test.warmupRatio
		s := NewSchedule(c, test.total)
		require.Equal(t, test.warmup, s.Warmup, "%s over %d steps", test.kind, test.total)
		for done, want := range test.rates {
			require.InDelta(t, want, s.LearningRate(done), 1e-19, "%s over %d steps, %d done", test.kind, test.total, done)
		}
	}
}

func TestScheduleOfAnUnknownNameIsABug(t *testing.T) {
	require.PanicsWithValue(t, "trainer: no learning-rate schedule is named exponential", func() {
		Schedule{Type: "exponential", Total: 3}.LearningRate(1)
	})
}
