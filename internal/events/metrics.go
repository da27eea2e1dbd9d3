package events

import (
	"encoding/json"
	"math"
)

// Step is one optimizer step, in TRL's names. It is a line of trainer_log.jsonl.
type Step struct {
	Step              int     `json:"step"`
	MaxSteps          int     `json:"max_steps"`
	Epoch             float64 `json:"epoch"`
	Loss              float64 `json:"loss"` // mean over the step's target tokens
	GradNorm          float64 `json:"grad_norm"`
	LearningRate      float64 `json:"learning_rate"`
	NumTokens         int64   `json:"num_tokens"` // seen since the run began
	TargetTokens      int64   `json:"target_tokens"`
	MeanTokenAccuracy float64 `json:"mean_token_accuracy"`
	TokensPerSecond   float64 `json:"tokens_per_second"` // 0 where the clock is too coarse to tell
	DeviceBytes       int64   `json:"device_bytes"`
	PeakDeviceBytes   int64   `json:"peak_device_bytes"`
	PageIns           int     `json:"page_ins,omitempty"`   // pages copied to the device in this step
	PageOuts          int     `json:"page_outs,omitempty"`  // and from it
	StallMS           float64 `json:"stall_ms,omitempty"`   // the host waited so long for pages or staging buffers
	Skipped           bool    `json:"skipped,omitempty"`    // the update was left out: loss or gradient not finite
	BadTensor         string  `json:"bad_tensor,omitempty"` // the first gradient that was not finite
	Seconds           float64 `json:"seconds"`
}

// Eval is one evaluation. It is a line of trainer_log.jsonl.
type Eval struct {
	Step         int     `json:"step"`
	Loss         float64 `json:"eval_loss"`
	Perplexity   float64 `json:"eval_ppl"`
	TargetTokens int64   `json:"eval_target_tokens"`
	Rows         int     `json:"eval_rows"`
	Seconds      float64 `json:"eval_seconds"`
}

// PerSecond is a rate, 0 where so little time passed that the clock shows none, as Windows' of 15.6 ms does.
func PerSecond(count int64, seconds float64) float64 {
	if seconds <= 0 {
		return 0
	}
	return float64(count) / seconds
}

// String is empty: whoever shows a step shows its figures.
func (Step) String() string { return "" }

// String is empty: whoever shows an evaluation shows its figures.
func (Eval) String() string { return "" }

// MarshalJSON writes null for what is not finite, which JSON cannot hold.
func (s Step) MarshalJSON() ([]byte, error) {
	type plain Step
	if IsFinite(s.Loss) && IsFinite(s.GradNorm) {
		return json.Marshal(plain(s))
	}
	return json.Marshal(struct {
		plain
		Loss     *float64 `json:"loss"`
		GradNorm *float64 `json:"grad_norm"`
	}{plain(s), orNull(s.Loss), orNull(s.GradNorm)})
}

// MarshalJSON writes null for what is not finite, which JSON cannot hold.
func (s Eval) MarshalJSON() ([]byte, error) {
	type plain Eval
	if IsFinite(s.Loss) && IsFinite(s.Perplexity) {
		return json.Marshal(plain(s))
	}
	return json.Marshal(struct {
		plain
		Loss       *float64 `json:"eval_loss"`
		Perplexity *float64 `json:"eval_ppl"`
	}{plain(s), orNull(s.Loss), orNull(s.Perplexity)})
}

// IsFinite is false for NaN and the infinities.
func IsFinite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }

func orNull(v float64) *float64 {
	if IsFinite(v) {
		return &v
	}
	return nil
}
