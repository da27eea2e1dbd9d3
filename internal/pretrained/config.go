package pretrained

import (
	"qlora-wgpu/internal/model/architectures"
	"qlora-wgpu/internal/model/spec"
	"qlora-wgpu/internal/usererr"
)

// Tokens are the ids with a meaning that a configuration names.
type Tokens struct {
	BOS int   // -1: none
	EOS []int // empty: none
	Pad int   // -1: none
}

// noTokens is what a configuration without any says.
var noTokens = Tokens{BOS: -1, Pad: -1}

// describe finds the configuration's family, if it is not given, and what the family and everyone read of it.
func (m *Model) describe(k *spec.Keys, family *spec.Family) error {
	if family == nil {
		f, err := architectures.Find(k)
		if err != nil {
			return err
		}
		family = &f
	}
	var err error
	if m.Spec, err = family.Read(k); err != nil {
		return err
	}
	m.Tokens = Tokens{BOS: k.Int("bos_token_id", -1), EOS: k.Ints("eos_token_id"), Pad: k.Int("pad_token_id", -1)}
	if k.Err() != nil {
		return k.Err()
	}
	for _, id := range append([]int{m.Tokens.BOS, m.Tokens.Pad}, m.Tokens.EOS...) {
		if id < -1 || id >= m.Spec.Vocab {
			return usererr.New(op, k.Path, "token id %d lies outside the vocabulary of %d", id, m.Spec.Vocab).Of(usererr.Format)
		}
	}
	return nil
}
