package events

import (
	"encoding/json"
	"math"
)

// Probabilities are those that the model gives, after a step, to each target of the run's first micro-batch from the
// tokens before it; step 0 is the base model. There is one value a token, in the order of the preview's batch.
type Probabilities struct {
	Step      int             `json:"step"`
	Sequences [][]Probability `json:"sequences"`
}

// Kind names the type.
func (Probabilities) Kind() string { return "probabilities" }

// String is empty: whoever shows probabilities shows them beside their tokens.
func (Probabilities) String() string { return "" }

// Probability is from 0 to 1, or, in JSON null, not a number: of a token that is no target, or where the loss is none.
type Probability float32

// NoProbability is that of a token that is no target.
var NoProbability = Probability(math.NaN())

// MarshalJSON writes null for what is not a number.
func (p Probability) MarshalJSON() ([]byte, error) {
	if !IsFinite(float64(p)) {
		return []byte("null"), nil
	}
	return json.Marshal(float32(p))
}
