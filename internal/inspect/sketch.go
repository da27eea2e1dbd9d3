package inspect

import (
	"iter"
	"math"
	"math/bits"
	"unicode"
)

// A sketch is a row's MinHash: 64 times a byte of the least hash of its shingles, eight of them a band. Rows of a
// similarity s share a byte with a chance of s + (1−s)/256, and so a band with about s⁸ and one of the bands with
// 1−(1−s⁸)⁸: 0.99 at 0.9, 0.77 at 0.8, 0.12 at 0.6. Rows that share one are compared by all bytes.
type sketch [bands]uint64

const (
	bands         = 8
	hashes        = bands * 8
	shingle       = 3 // words
	leastWords    = 8 // that a row has to have: fewer are like others by chance
	nearThreshold = 0.8
)

var method = Method{
	Words: shingle, Hashes: hashes, Bands: bands, Threshold: nearThreshold, LeastWords: leastWords,
	Error: round(math.Sqrt(nearThreshold * (1 - nearThreshold) / hashes)), Found: round(1 - math.Pow(1-math.Pow(0.9, 8), bands)),
}

func round(x float64) float64 { return math.Round(x*1000) / 1000 }

// multipliers and additions make 64 hashes of one (multiply-shift).
var multipliers, additions = func() (a, b [hashes]uint64) {
	for i := range uint64(hashes) {
		a[i], b[i] = mixed(2*i+1)|1, mixed(2*i+2)
	}
	return a, b
}()

// mixed is MurmurHash3's finalizer.
func mixed(x uint64) uint64 {
	x = (x ^ x>>33) * 0xff51afd7ed558ccd
	x = (x ^ x>>33) * 0xc4ceb9fe1a85ec53
	return x ^ x>>33
}

// sketchOf is that of a text's words, without shingles that are common; zero where there are too few.
func sketchOf(words []uint64, common map[uint64]bool) (s sketch) {
	var least [hashes]uint32
	for i := range least {
		least[i] = math.MaxUint32
	}
	n := 0
	for x := range shingles(words) {
		if common[x] {
			continue
		}
		n++
		for i := range least {
			least[i] = min(least[i], uint32((x*multipliers[i]+additions[i])>>32))
		}
	}
	if n <= leastWords-shingle {
		return s
	}
	for i, h := range least {
		s[i/8] |= mixed(uint64(h)) & 255 << (i % 8 * 8)
	}
	return s
}

// shingles are hashes of as many words that follow one another.
func shingles(words []uint64) iter.Seq[uint64] {
	return func(yield func(uint64) bool) {
		for k := range len(words) - shingle + 1 {
			x := uint64(0)
			for _, word := range words[k : k+shingle] {
				x = mixed(x*31 + word)
			}
			if !yield(x) {
				return
			}
		}
	}
}

// commonOf are the shingles that a fifth of the texts have, at least ten of them: of a prompt that many rows share.
func commonOf(texts [][]uint64) map[uint64]bool {
	const part, atLeast = 5, 10
	counts := map[uint64]int{}
	for _, words := range texts {
		own := map[uint64]bool{}
		for x := range shingles(words) {
			own[x] = true
		}
		for x := range own {
			counts[x]++
		}
	}
	common := map[uint64]bool{}
	for x, n := range counts {
		if n >= max(atLeast, (len(texts)+part-1)/part) {
			common[x] = true
		}
	}
	return common
}

// similarity is the estimated Jaccard similarity of two rows' shingles.
func (s sketch) similarity(other sketch) float64 {
	same := 0
	for i := range s {
		x := s[i] ^ other[i]
		// a byte that is 0 has no bit of these after its own were gathered in its lowest
		x |= x >> 4
		x |= x >> 2
		x |= x >> 1
		same += 8 - bits.OnesCount64(x&0x0101010101010101)
	}
	return (float64(same)/hashes - 1.0/256) / (1 - 1.0/256)
}

// appendWords appends the hashes (FNV-1a) of a text's words in small letters. Signs of scripts that are written without
// spaces are words.
func appendWords(words []uint64, text string) []uint64 {
	const offset, prime = 14695981039346656037, 1099511628211
	h := uint64(offset)
	end := func() {
		if h != offset {
			words, h = append(words, h), offset
		}
	}
	for _, r := range text {
		switch {
		case 'a' <= r && r <= 'z', '0' <= r && r <= '9':
		case 'A' <= r && r <= 'Z':
			r += 'a' - 'A'
		case r < 0x80:
			end()
			continue
		case isSign(r):
			end()
			words = append(words, mixed(uint64(r)))
			continue
		case unicode.IsLetter(r), unicode.IsDigit(r), unicode.IsMark(r):
			r = unicode.ToLower(r)
		default:
			end()
			continue
		}
		h = (h ^ uint64(r)) * prime
	}
	end()
	return words
}

// isSign tells characters of scripts that are written without spaces.
func isSign(r rune) bool {
	return r >= 0x0e00 && unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Thai, unicode.Lao, unicode.Khmer,
		unicode.Myanmar)
}
