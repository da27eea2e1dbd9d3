package inspect

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	"golang.org/x/text/encoding/charmap"
)

// pair are two texts that share so many of their three-word sequences, and that share (Jaccard).
func pair(r *rand.Rand, words, changed int) (a, b []uint64, jaccard float64) {
	a = make([]uint64, words)
	for i := range a {
		a[i] = r.Uint64()
	}
	b = append([]uint64(nil), a...)
	for range changed {
		b[r.IntN(words)] = r.Uint64()
	}
	sequences := func(text []uint64) map[[shingle]uint64]bool {
		all := map[[shingle]uint64]bool{}
		for i := range len(text) - shingle + 1 {
			all[[shingle]uint64(text[i:])] = true
		}
		return all
	}
	of, common := sequences(a), 0
	for s := range sequences(b) {
		if of[s] {
			common++
		}
	}
	return a, b, float64(common) / float64(2*len(of)-common)
}

// The estimate has no bias and the error that is said of it, and pairs are found as often as is said.
func TestSketch(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, c := range []struct {
		changed       int
		similar       float64 // about
		least, atMost float64 // part of the pairs that share a band
	}{{5, 0.9, 0.96, 1}, {9, 0.83, 0.78, 0.98}, {30, 0.58, 0.02, 0.2}, {130, 0.16, 0, 0.01}} {
		const pairs = 400
		var off, square, similar, found float64
		for range pairs {
			a, b, jaccard := pair(r, 300, c.changed)
			x, y := sketchOf(a, nil), sketchOf(b, nil)
			d := x.similarity(y) - jaccard
			off, square, similar = off+d/pairs, square+d*d/pairs, similar+jaccard/pairs
			for band := range x {
				if x[band] == y[band] {
					found += 1.0 / pairs
					break
				}
			}
		}
		require.InDelta(t, c.similar, similar, 0.03)
		deviation := math.Sqrt(similar * (1 - similar) / hashes)
		require.InDelta(t, 0, off, 4*deviation/math.Sqrt(pairs))
		require.InEpsilon(t, deviation, math.Sqrt(square), 0.15, "%v", similar)
		require.GreaterOrEqual(t, found, c.least, "%v", similar)
		require.LessOrEqual(t, found, c.atMost, "%v", similar)
	}
	require.Equal(t, sketch{}, sketchOf(make([]uint64, leastWords-1), nil))
	require.InDelta(t, 0.05, method.Error, 1e-9)
	require.InDelta(t, 0.99, method.Found, 0.002)
}

// Words are the same whatever stands between them and however they are written; signs of scripts without spaces are.
func TestWords(t *testing.T) {
	words := func(text string) []uint64 { return appendWords(nil, text) }
	require.Equal(t, words("Über allen GIPFELN, ist Ruh’"), words("über\tallen gipfeln – ist (ruh)!"))
	require.Len(t, words("a1 b-2"), 3)
	require.Len(t, words("日本の首都"), 5)
	require.Len(t, words("नमस्ते दुनिया"), 2, "marks are of their letters")
	require.Empty(t, words(" …\n"))
	require.NotEqual(t, words("ab c"), words("a bc"))
}

// mojibake is found in what was broken, and not in what people write.
func TestMojibake(t *testing.T) {
	for _, text := range []string{
		"cafÃ©", "itâ€™s", "Â°C", "â‚¬5", "Ð¿Ñ€Ð¸Ð²ÐµÑ‚", "ä½\u00a0å¥½", "ðŸ˜€", "GroÃŸe", "naÃ¯ve", "\u00c3\u0083", "â„¢",
		"FranÃ§ais", "Å‚Ã³dÅº",
	} {
		require.True(t, mojibake(text), text)
	}
	for _, text := range []string{
		"café", "„Spaß“", "„Ä“", "voilà…", "«là»", "12 °C – 5 €", "naïveté—", "Straße”", "ÄÖÜäöüß", "São João", "NÃO", "â", "Français™",
		"été…”",
		"привет", "你好", "😀", "crème brûlée", "È»", "Škoda", "œuvre", "ÂME", "mañana", "Hôtel",
	} {
		require.False(t, mojibake(text), text)
	}
}

// A character is the byte that other tables have for it.
func TestByteOf(t *testing.T) {
	for r := range rune(utf8.MaxRune + 1) {
		want, is := charmap.Windows1252.EncodeRune(r)
		if latin, one := charmap.ISO8859_1.EncodeRune(r); one && !is {
			want, is = latin, true
		}
		b, one := byteOf(r)
		if r < 0x80 {
			require.False(t, one, "%U", r)
		} else if one != is || is && b != want {
			require.Failf(t, "another byte", "%U: %x, %v", r, b, one)
		}
	}
}

// What is not seen is told from what joins letters, emoji and directions.
func TestCharacters(t *testing.T) {
	of := func(text string) string {
		var l Look
		l.text(text)
		var all []string
		for _, h := range l.hits {
			all = append(all, strings.TrimSpace(h.kind+" "+h.what))
		}
		return strings.Join(all, ", ")
	}
	for text, want := range map[string]string{
		"plain\ttext\n": "", "👩‍👩‍👧": "", "می‌خواهم": "", "क्‍ष": "", "שלום\u200f": "",
		"🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f": "",
		"日本　語": "", "終。　ｆｕｌｌ　": "", "❤️": "", "“quoted” – …": "",
		"a\u200db": "invisible_characters U+200D", "a\u200eb": "invisible_characters U+200E", "x\ufeff": "invisible_characters U+FEFF",
		"hi\U000e0068\U000e0069": "invisible_characters U+E0068, invisible_characters U+E0069", "so\u00adft": "invisible_characters U+00AD",
		"a\r\nb": "unusual_whitespace a carriage return", "a\u00a0b": "unusual_whitespace U+00A0", "a\u3000b": "unusual_whitespace U+3000",
		"a\u2028b": "unusual_whitespace U+2028", "\x00\x7f": "control_characters U+0000, control_characters U+007F",
		"\u00c3\u0083": "mojibake",
		"\u0085":       "control_characters U+0085", "\ufffd\ufffd": "replacement_character",
	} {
		require.Equal(t, want, of(text), fmt.Sprintf("%+q", text))
	}
}

// An answer repeats itself where most of it is the same few words.
func TestRepeats(t *testing.T) {
	for text, want := range map[string]bool{
		strings.Repeat("I like it. ", 4):                                  true,
		"Well. " + strings.Repeat("ha ", 12):                              true,
		strings.Repeat("I like it. ", 3):                                  false,
		"no no no no":                                                     false,
		"We went on and on and on, for days and days, until we were home": false,
		strings.Repeat("the same words again ", 4) + counted(1, 40):       false,
	} {
		require.Equal(t, want, repeats(appendWords(nil, text)), text)
	}
}

func TestBins(t *testing.T) {
	require.Equal(t, []Bin{{1, 15, 2}, {16, 23, 1}, {24, 30, 1}, {31, 31, 0}, {32, 47, 1}}, bins([]uint32{3, 15, 16, 30, 32}, 30))
	require.Equal(t, []Bin{{32, 47, 1}}, bins([]uint32{47}, math.MaxInt))
	require.Equal(t, []Bin{{1, 10, 1}, {11, 15, 1}}, bins([]uint32{10, 11}, 10))
	for _, limit := range []int{2, 15, 16, 23, 1000, math.MaxInt} {
		total := 0
		for _, b := range bins([]uint32{1, 2, 14, 15, 16, 17, 22, 23, 24, 999, 1000, 1001, math.MaxUint32 - 1}, limit) {
			total += b.Rows
			require.LessOrEqual(t, b.From, b.To)
			require.False(t, b.From <= limit && limit < b.To, "%v over %d", b, limit)
		}
		require.Equal(t, 13, total)
	}
}
