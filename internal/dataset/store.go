package dataset

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json/v2"
	"fmt"

	"qlora-wgpu/internal/settings"
	"qlora-wgpu/internal/version"
)

// Store keeps samples that are too many for memory, also for later starts, which need not make them again.
type Store interface {
	// Beyond is how many tokens of samples memory holds; those of a larger set are kept here.
	Beyond() int
	// Find gives the samples that were kept under a key, nil where none are.
	Find(key string) (Samples, Report, error)
	// Create begins to keep samples under a key: about so many bytes of tokens. Where another process has kept them
	// meanwhile, those are given instead, and the Keeping is nil.
	Create(key string, bytes int64) (Keeping, Samples, Report, error)
}

// Keeping is samples on their way into a Store. Exactly one of Finish and Discard ends it.
type Keeping interface {
	Add(Sample) error
	// Finish gives what was added, from where it is kept.
	Finish(Report) (Samples, error)
	Discard()
}

// encodingVersion counts changes of what rows become, for builds that do not know which version they are.
const encodingVersion = 1

// key names all that decides the samples of a source.
func (e Encoder) key(s *Source) (string, error) {
	identity, err := e.Identity()
	if err != nil {
		return "", fmt.Errorf("identity of the tokenizer: %w", err)
	}
	of := struct {
		Encoding                            int
		Program                             version.Build
		Text                                []byte // tokenizer and template
		TrainOn, MaxSeqLength, EOS, Highest int
		Data, Format, Container             string
		Columns                             settings.Columns
		Files                               []string
		First, Rows                         int
	}{
		encodingVersion, version.Of(), identity, int(e.TrainOn), e.MaxSeqLength, int(e.EOS), e.Vocabulary,
		s.Hash, s.Format, s.Container, s.columns, s.files, s.first, s.Len(),
	}
	text, err := json.Marshal(of, json.Deterministic(true))
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:]), nil
}
