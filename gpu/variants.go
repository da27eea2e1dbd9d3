package gpu

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"sync"
)

// VariantTable records which variant of each operation runs for each class of shapes on this device. A run writes it
// into its log and checkpoints and reuses it on resume: the same table gives the same bytes.
type VariantTable struct {
	mu     sync.Mutex
	chosen map[string]string
	wanted map[string]int // to when it was asked for first
	asked  int
	forced map[string]string // operation to variant
}

func newVariantTable() *VariantTable {
	return &VariantTable{chosen: map[string]string{}, wanted: map[string]int{}, forced: map[string]string{}}
}

// Choose is the variant recorded for the operation's shape class, else fallback; a class without a choice is noted as
// wanted.
func (t *VariantTable) Choose(op, class, fallback string) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if v := t.forced[op]; v != "" {
		return v
	}
	key := op + " " + class
	if v := t.chosen[key]; v != "" {
		return v
	}
	if _, known := t.wanted[key]; !known {
		t.asked++
		t.wanted[key] = t.asked
	}
	return fallback
}

// Force makes one variant run for every shape of an operation; empty ends it. `check` and the tests go through all
// variants with it.
func (t *VariantTable) Force(op, variant string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.forced[op] = variant
}

// Set records a choice.
func (t *VariantTable) Set(op, class, variant string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	key := op + " " + class
	t.chosen[key] = variant
	delete(t.wanted, key)
}

// Wanted lists "operation class" keys that were asked for and have no choice, the first first.
func (t *VariantTable) Wanted() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.SortedFunc(maps.Keys(t.wanted), func(a, b string) int { return cmp.Compare(t.wanted[a], t.wanted[b]) })
}

// Aside runs f, and forgets what was asked for meanwhile.
func (t *VariantTable) Aside(f func()) {
	t.mu.Lock()
	wanted := maps.Clone(t.wanted)
	t.mu.Unlock()
	f()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.wanted = wanted
}

// MarshalJSON writes the choices; UnmarshalJSON replaces them.
func (t *VariantTable) MarshalJSON() ([]byte, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return json.Marshal(t.chosen)
}

// UnmarshalJSON replaces the choices. What is no object of texts is an error; names of variants are not checked here.
func (t *VariantTable) UnmarshalJSON(data []byte) error {
	chosen := map[string]string{}
	if err := json.Unmarshal(data, &chosen); err != nil {
		return fmt.Errorf("variant table: %w", err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.chosen = chosen
	return nil
}
