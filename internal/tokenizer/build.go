package tokenizer

import (
	"cmp"
	"slices"
	"strings"
	"unicode/utf8"

	"qlora-wgpu/internal/usererr"
)

const (
	maxFileBytes  = 64 << 20
	maxTokens     = 1 << 20
	maxTokenBytes = 64 << 10
	maxAddedBytes = 1 << 10
	maxComponents = 100
	maxGrowth     = 1024
)

// definition is what all file formats are brought to. Ids are unique and every token is named once.
type definition struct {
	path       string
	vocabulary map[string]int32
	// the merges, by rank; or in place of them those by score
	merges        [][2]string
	byScore       map[uint64]merge
	byteLevel     bool // the smallest tokens are bytes
	byteFallback  bool // a character without a token is written by those of its bytes
	ignoreMerges  bool
	unknown       *string // unk_token
	fuseUnknown   bool
	added         []AddedToken
	normalizers   []normalizer
	preTokenizers []preTokenizer
	components    int     // those entered so far
	growth        float64 // how many times longer they make a text at most; 0: not at all
	decoding      decoding
	byteDecoders  int
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

// grow takes note of a component that may make a text longer. A few such in a row could make it too long for any
// memory.
func (d *definition) grow(factor int, where string) error {
	if d.growth = max(d.growth, 1) * float64(max(factor, 1)); d.growth > maxGrowth {
		return unsupported(d.path, "up to here a text may become %.0f times longer, more than %d", d.growth, maxGrowth).At("%s", where)
	}
	return nil
}

func (d *definition) build() (*Tokenizer, error) {
	size, err := d.size()
	if err != nil {
		return nil, err
	}
	model := &bpe{
		byteLevel: d.byteLevel, unknown: -1, fuse: d.fuseUnknown, merges: d.byScore, cache: map[string][]int32{},
		characters: map[rune]int32{},
	}
	t := &Tokenizer{
		model: model, normalizers: d.normalizers, preTokenizers: d.preTokenizers, around: d.around, pad: d.pad,
		opening: d.decoding.opening(), exact: newMatcher(), normalized: newMatcher(),
		tokens: make([]string, size), bytes: make([]string, size),
		ids: make(map[string]int32, len(d.vocabulary)+len(d.added)), special: map[int32]bool{}, isAdded: map[int32]bool{},
	}
	for i := range model.byteID {
		model.byteID[i] = -1
	}
	for i := range model.ascii {
		model.ascii[i] = -1
	}
	if d.unknown != nil {
		id, ok := d.vocabulary[*d.unknown]
		if !ok {
			return nil, fail(d.path, "unk_token %.40q is not in the vocabulary", *d.unknown)
		}
		model.unknown = id
	}
	if d.ignoreMerges {
		model.words = make(map[string]int32, len(d.vocabulary))
	}
	for token, id := range d.vocabulary {
		if other := t.tokens[id]; other != "" {
			return nil, fail(d.path, "the tokens %q and %q have the same id %d", min(token, other), max(token, other), id)
		}
		t.tokens[id], t.ids[token] = token, id
		t.bytes[id] = d.addToModel(model, token, id)
	}
	if err := d.addMerges(t); err != nil {
		return nil, err
	}
	if err := d.addTokens(t); err != nil {
		return nil, err
	}
	for _, a := range d.added {
		t.isAdded[a.ID] = true
	}
	for _, id := range d.vocabulary {
		if !t.isAdded[id] {
			t.rows = max(t.rows, int(id)+1)
		}
	}
	return t, nil
}

// addToModel enters what a token of the vocabulary is to the model, and gives what it decodes to.
func (d *definition) addToModel(model *bpe, token string, id int32) string {
	if d.byteLevel {
		raw, ok := tokenBytes(token)
		if !ok {
			return token // the decoder of `tokenizers` writes such a token as it stands
		}
		if len(raw) == 1 {
			model.byteID[raw[0]] = id
		}
		if model.words != nil {
			model.words[raw] = id
		}
		return raw
	}
	if b, ok := fallbackByte(token); ok && d.byteFallback && strings.ToUpper(token[3:5]) == token[3:5] {
		model.byteID[b] = id
	}
	if c, n := utf8.DecodeRuneInString(token); n == len(token) {
		model.characters[c] = id
		if c < utf8.RuneSelf {
			model.ascii[c] = id
		}
	}
	if model.words != nil {
		model.words[token] = id
	}
	return d.decoding.token(token)
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
	model := t.model
	if model.merges == nil {
		model.merges = make(map[uint64]merge, len(d.merges))
	}
	for rank, pair := range d.merges {
		left, okLeft := d.vocabulary[pair[0]]
		right, okRight := d.vocabulary[pair[1]]
		merged, okMerged := d.vocabulary[pair[0]+pair[1]]
		for i, token := range []string{pair[0], pair[1], pair[0] + pair[1]} {
			if ok := [3]bool{okLeft, okRight, okMerged}[i]; !ok {
				return fail(d.path, "merge %d (%.40q + %.40q) names %.40q, which is not in the vocabulary", rank, pair[0], pair[1], token)
			}
		}
		model.merges[pairKey(left, right)] = merge{rank: int32(rank), id: merged}
	}
	d.findCuts(model, t.tokens)
	return nil
}

// findCuts looks at what merges make whether words may be cut before a ▁: else a text of SentencePiece has no words,
// and merging is slower the longer they are. It may be where ▁ is a token and none of bytes or the unknown is merged.
func (d *definition) findCuts(model *bpe, tokens []string) {
	if _, ok := d.vocabulary[metaspace]; !ok || d.byteLevel || d.ignoreMerges {
		return
	}
	alone := map[int32]bool{model.unknown: true}
	for _, id := range model.byteID {
		alone[id] = true
	}
	model.glued = map[rune]bool{}
	for pair, merged := range model.merges {
		if alone[int32(pair>>32)] || alone[int32(uint32(pair))] {
			return
		}
		token := tokens[merged.id]
		for at := 0; ; at += len(metaspace) {
			i := strings.Index(token[at:], metaspace)
			if i < 0 {
				break
			}
			if at += i; at > 0 {
				before, _ := utf8.DecodeLastRuneInString(token[:at])
				model.glued[before] = true
			}
		}
	}
	model.cutBefore = true
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
		content, where := a.Content, t.exact
		if a.Normalized {
			content, where = cmp.Or(a.wanted, t.normalize(content)), t.normalized
		}
		t.tokens[a.ID], t.ids[a.Content] = a.Content, a.ID
		t.bytes[a.ID] = d.decoding.token(content)
		if a.Special {
			t.special[a.ID] = true
		}
		if content != "" {
			where.add(strings.Clone(content), a)
		}
	}
	return nil
}
