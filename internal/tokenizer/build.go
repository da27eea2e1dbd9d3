package tokenizer

import (
	"slices"
	"strings"

	"qlora-wgpu/internal/usererr"
)

const (
	maxFileBytes  = 64 << 20
	maxTokens     = 1 << 20
	maxTokenBytes = 64 << 10
	maxAddedBytes = 1 << 10
)

// definition is what both file formats are brought to. Ids are unique and every token is named once.
type definition struct {
	path          string
	vocabulary    map[string]int32
	merges        [][2]string
	ignoreMerges  bool
	unknown       *string // unk_token
	fuseUnknown   bool
	added         []AddedToken
	normalize     func(string) string
	preTokenizers []preTokenizer
	around        surroundings
	pad           string // pad_token
}

// surroundings are the tokens that a post-processor writes around a single text.
type surroundings struct{ before, after []int32 }

func fail(path, format string, args ...any) *usererr.Error {
	return usererr.New("read tokenizer", path, format, args...).Of(usererr.Format)
}

func unsupported(path, format string, args ...any) *usererr.Error {
	return usererr.New("read tokenizer", path, format, args...).Of(usererr.Unsupported)
}

func (d *definition) build() (*Tokenizer, error) {
	size, err := d.size()
	if err != nil {
		return nil, err
	}
	t := &Tokenizer{
		model:     &bpe{merges: make(map[uint64]merge, len(d.merges)), unknown: -1, fuse: d.fuseUnknown, cache: map[string][]int32{}},
		normalize: d.normalize, preTokenizers: d.preTokenizers, around: d.around, pad: d.pad,
		exact: newMatcher(), normalized: newMatcher(),
		tokens: make([]string, size), bytes: make([]string, size),
		ids: make(map[string]int32, len(d.vocabulary)+len(d.added)), special: map[int32]bool{},
	}
	for i := range t.model.byteID {
		t.model.byteID[i] = -1
	}
	if d.unknown != nil {
		id, ok := d.vocabulary[*d.unknown]
		if !ok {
			return nil, fail(d.path, "unk_token %.40q is not in the vocabulary", *d.unknown)
		}
		t.model.unknown = id
	}
	if d.ignoreMerges {
		t.model.words = make(map[string]int32, len(d.vocabulary))
	}
	for token, id := range d.vocabulary {
		if other := t.tokens[id]; other != "" {
			return nil, fail(d.path, "the tokens %q and %q have the same id %d", min(token, other), max(token, other), id)
		}
		raw, ok := tokenBytes(token)
		if !ok {
			raw = token // the decoder of `tokenizers` writes such a token as it stands
		} else if len(raw) == 1 {
			t.model.byteID[raw[0]] = id
		}
		if ok && t.model.words != nil {
			t.model.words[raw] = id
		}
		t.tokens[id], t.bytes[id], t.ids[token] = token, raw, id
	}
	if err := d.addMerges(t); err != nil {
		return nil, err
	}
	if err := d.addTokens(t); err != nil {
		return nil, err
	}
	return t, nil
}

// size is one more than the largest id; it refuses what would make the tables large or ambiguous.
func (d *definition) size() (int, error) {
	if len(d.vocabulary) == 0 {
		return 0, fail(d.path, "the vocabulary is empty")
	}
	largest := int32(0)
	check := func(token string, id int32) error {
		switch {
		case id < 0 || id >= maxTokens:
			return fail(d.path, "the id %d of token %.40q is outside 0..%d", id, token, maxTokens-1)
		case token == "":
			return fail(d.path, "the token with id %d is empty", id)
		case len(token) > maxTokenBytes:
			return fail(d.path, "the token with id %d has %d bytes, more than %d", id, len(token), maxTokenBytes)
		}
		largest = max(largest, id)
		return nil
	}
	for token, id := range d.vocabulary {
		if err := check(token, id); err != nil {
			return 0, err
		}
	}
	for _, a := range d.added {
		if err := check(a.Content, a.ID); err != nil {
			return 0, err
		}
	}
	return int(largest) + 1, nil
}

func (d *definition) addMerges(t *Tokenizer) error {
	for rank, pair := range d.merges {
		left, okLeft := d.vocabulary[pair[0]]
		right, okRight := d.vocabulary[pair[1]]
		merged, okMerged := d.vocabulary[pair[0]+pair[1]]
		for i, token := range []string{pair[0], pair[1], pair[0] + pair[1]} {
			if ok := [3]bool{okLeft, okRight, okMerged}[i]; !ok {
				return fail(d.path, "merge %d (%.40q + %.40q) names %.40q, which is not in the vocabulary", rank, pair[0], pair[1], token)
			}
		}
		t.model.merges[pairKey(left, right)] = merge{rank: int32(rank), id: merged}
	}
	return nil
}

// addTokens enters the added tokens, which may repeat tokens of the vocabulary.
func (d *definition) addTokens(t *Tokenizer) error {
	added := slices.Clone(d.added)
	slices.SortStableFunc(added, func(a, b AddedToken) int { return int(a.ID) - int(b.ID) })
	for i, a := range added {
		if len(a.Content) > maxAddedBytes {
			return fail(d.path, "the added token with id %d has %d bytes, more than %d", a.ID, len(a.Content), maxAddedBytes)
		}
		if i > 0 && added[i-1].ID == a.ID {
			return fail(d.path, "the added tokens %q and %q have the same id %d", added[i-1].Content, a.Content, a.ID)
		}
		if present := t.tokens[a.ID]; present != "" && present != a.Content {
			return fail(d.path, "the added token %q has the id %d of the token %q", a.Content, a.ID, present)
		}
		if id, ok := t.ids[a.Content]; ok && id != a.ID {
			return fail(d.path, "the added token %q has the id %d, and %d elsewhere", a.Content, a.ID, id)
		}
		t.tokens[a.ID], t.bytes[a.ID], t.ids[a.Content] = a.Content, a.Content, a.ID
		if a.Special {
			t.special[a.ID] = true
		}
		content, where := a.Content, t.exact
		if a.Normalized {
			where = t.normalized
			if t.normalize != nil {
				content = t.normalize(content)
				t.bytes[a.ID] = content
			}
		}
		where.add(strings.Clone(content), a)
	}
	return nil
}
