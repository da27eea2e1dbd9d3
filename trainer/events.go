package trainer

import (
	"encoding/json"
	"math"

	"qlora-wgpu/paging"
)

// Event is something that happened in a run, for whoever shows or logs it. Kind is "info", "load", "plan", "answer", "step", "eval", "checkpoint", "warning"
// or "done".
type Event struct {
	Kind    string
	Message string
	Load    *LoadStats
	Plan    *PlanStats
	Answer  *AnswerStats
	Step    *StepStats
	Eval    *EvalStats
	Memory  *paging.Plan // with "plan": where everything lies
}

// LoadStats is how many of the model's layers are on the device. Both are 0 where loading begins.
type LoadStats struct {
	Done  int `json:"done"`
	Total int `json:"total"`
}

// PlanStats is what a run will take, known before its first step. Memory is in bytes on the device.
type PlanStats struct {
	Steps       int   `json:"steps"`
	Device      int64 `json:"device"` // all that is reserved, the following parts among it
	Frozen      int64 `json:"frozen"`
	State       int64 `json:"state"` // adapter, gradients and moments
	Activations int64 `json:"activations"`
	MaxTokens   int   `json:"max_tokens"` // of a micro-batch
}

// AnswerStats is an answer to one of the run's prompts after a step; step 0 is the base model. It is a line of trainer_log.jsonl.
type AnswerStats struct {
	Step   int    `json:"step"`
	Prompt string `json:"prompt"`
	Answer string `json:"answer"`
}

// StepStats is one optimizer step, in TRL's names. It is a line of trainer_log.jsonl.
type StepStats struct {
	Step              int     `json:"step"`
	MaxSteps          int     `json:"max_steps"`
	Epoch             float64 `json:"epoch"`
	Loss              float64 `json:"loss"` // mean over the step's target tokens
	GradNorm          float64 `json:"grad_norm"`
	LearningRate      float64 `json:"learning_rate"`
	NumTokens         int64   `json:"num_tokens"` // seen since the run began
	TargetTokens      int64   `json:"target_tokens"`
	MeanTokenAccuracy float64 `json:"mean_token_accuracy"`
	TokensPerSecond   float64 `json:"tokens_per_second"`
	DeviceBytes       int64   `json:"device_bytes"`
	PeakDeviceBytes   int64   `json:"peak_device_bytes"`
	PageIns           int     `json:"page_ins,omitempty"`   // pages copied to the device in this step
	PageOuts          int     `json:"page_outs,omitempty"`  // and from it
	StallMS           float64 `json:"stall_ms,omitempty"`   // the host waited so long for pages or staging buffers
	Skipped           bool    `json:"skipped,omitempty"`    // the update was left out: loss or gradient not finite
	BadTensor         string  `json:"bad_tensor,omitempty"` // the first gradient that was not finite
	Seconds           float64 `json:"seconds"`
}

// EvalStats is one evaluation.
type EvalStats struct {
	Step         int     `json:"step"`
	Loss         float64 `json:"eval_loss"`
	Perplexity   float64 `json:"eval_ppl"`
	TargetTokens int64   `json:"eval_target_tokens"`
	Rows         int     `json:"eval_rows"`
	Seconds      float64 `json:"eval_seconds"`
}

// Summary is what a finished run left.
type Summary struct {
	Steps      int
	Loss       float64 // of the last step
	Eval       *EvalStats
	AdapterDir string
	Seconds    float64
}

// MarshalJSON writes null for what is not finite, which JSON cannot hold.
func (s StepStats) MarshalJSON() ([]byte, error) {
	type plain StepStats
	if isFinite(s.Loss) && isFinite(s.GradNorm) {
		return json.Marshal(plain(s))
	}
	return json.Marshal(struct {
		plain
		Loss     *float64 `json:"loss"`
		GradNorm *float64 `json:"grad_norm"`
	}{plain(s), orNull(s.Loss), orNull(s.GradNorm)})
}

// MarshalJSON writes null for what is not finite, which JSON cannot hold.
func (s EvalStats) MarshalJSON() ([]byte, error) {
	type plain EvalStats
	if isFinite(s.Loss) && isFinite(s.Perplexity) {
		return json.Marshal(plain(s))
	}
	return json.Marshal(struct {
		plain
		Loss       *float64 `json:"eval_loss"`
		Perplexity *float64 `json:"eval_ppl"`
	}{plain(s), orNull(s.Loss), orNull(s.Perplexity)})
}

func isFinite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }

func orNull(v float64) *float64 {
	if isFinite(v) {
		return &v
	}
	return nil
}
