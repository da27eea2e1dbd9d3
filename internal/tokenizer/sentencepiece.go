package tokenizer

import (
	"cmp"
	"errors"
	"math"

	"google.golang.org/protobuf/encoding/protowire"
)

// SentencePiece reads a tokenizer.model, SentencePiece's ModelProto (sentencepiece_model.proto), as far as it is BPE;
// other kinds are refused by name. path is for messages.
func SentencePiece(data []byte, path string) (Vocabulary, error) {
	const modelBPE = 2
	kinds := map[uint64]string{0: "Unigram", 1: "Unigram", 3: "Word", 4: "Char"}
	v := Vocabulary{Model: "llama", AddSpacePrefix: true, CollapseSpaces: true, Normalized: true}
	var kind uint64
	var refused string // what changes ids and is not computed
	err := eachField(data, func(number protowire.Number, f field) error {
		switch number {
		case 1:
			return v.addPiece(f.bytes)
		case 2: // trainer_spec
			return eachField(f.bytes, func(number protowire.Number, f field) error {
				switch {
				case number == 3:
					kind = f.number
				case number == 24 && f.number != 0:
					refused = "treat_whitespace_as_suffix"
				}
				return nil
			})
		case 3: // normalizer_spec
			return eachField(f.bytes, func(number protowire.Number, f field) error {
				switch {
				case number == 2 && len(f.bytes) > 0:
					refused = "a normalizer of its own (precompiled_charsmap)"
				case number == 3:
					v.AddSpacePrefix = f.number != 0
				case number == 4:
					v.CollapseSpaces = f.number != 0
				case number == 5 && f.number == 0:
					refused = "spaces that stay spaces (escape_whitespaces is false)"
				}
				return nil
			})
		}
		return nil
	})
	switch {
	case err != nil:
		return v, fail(path, "it is no SentencePiece model: %w", err)
	case len(v.Tokens) == 0:
		return v, fail(path, "it has no pieces: it is no SentencePiece model")
	case kind != modelBPE:
		return v, unsupported(path, "a SentencePiece model of the kind %s", cmp.Or(kinds[kind], "without a name")).Hinted(onlyBPE)
	case refused != "":
		return v, unsupported(path, "a SentencePiece model with %s", refused).
			Hinted("make a tokenizer.json of it: AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER)")
	}
	return v, nil
}

// addPiece reads one piece: its text, score and type.
func (v *Vocabulary) addPiece(data []byte) error {
	token, score, kind := "", float32(0), uint64(typeNormal)
	err := eachField(data, func(number protowire.Number, f field) error {
		switch number {
		case 1:
			token = string(f.bytes)
		case 2:
			score = math.Float32frombits(uint32(f.number))
		case 3:
			kind = f.number
		}
		return nil
	})
	if len(v.Tokens) >= maxTokens {
		return errors.New("too many pieces")
	}
	v.Tokens, v.Scores, v.Types = append(v.Tokens, token), append(v.Scores, score), append(v.Types, int(min(kind, math.MaxInt32)))
	return err
}

// field is a value of a message: bytes where it is a text or a message, else a number.
type field struct {
	bytes  []byte
	number uint64
}

func eachField(data []byte, do func(protowire.Number, field) error) error {
	for len(data) > 0 {
		number, kind, n := protowire.ConsumeTag(data)
		if n < 0 {
			return protowire.ParseError(n)
		}
		data = data[n:]
		var f field
		switch kind {
		case protowire.BytesType:
			f.bytes, n = protowire.ConsumeBytes(data)
		case protowire.VarintType:
			f.number, n = protowire.ConsumeVarint(data)
		case protowire.Fixed32Type:
			var bits uint32
			bits, n = protowire.ConsumeFixed32(data)
			f.number = uint64(bits)
		default:
			n = protowire.ConsumeFieldValue(number, kind, data)
		}
		if n < 0 {
			return protowire.ParseError(n)
		}
		data = data[n:]
		if err := do(number, f); err != nil {
			return err
		}
	}
	return nil
}
