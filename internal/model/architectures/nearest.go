package architectures

import (
	"strings"
	"unicode"

	"qlora-wgpu/internal/model/spec"
	"qlora-wgpu/internal/usererr"
)

// nearest is the family whose name is most like one of the names; alike is false where none is. A family that has no
// name of the wanted kind has to be meant.
func nearest(wanted func(f spec.Family) string, names ...string) (best spec.Family, alike bool) {
	least := 2.0
	for _, name := range names {
		for _, f := range families {
			for _, own := range []string{f.ModelType, f.GGUF} {
				if d, ok := unlike(plain(name), plain(own)); ok && d < least && (d == 0 || wanted(f) != "") {
					best, least, alike = f, d, true
				}
			}
		}
	}
	return best, alike
}

// plain is a name of a family or of its class without what says nothing of the family.
func plain(name string) string {
	for _, mark := range []string{"For", "Model", "LMHead"} {
		name, _, _ = strings.Cut(name, mark)
	}
	const most = 60 // longer than any name
	name = strings.TrimSuffix(strings.ToLower(name[:min(len(name), most)]), "_text")
	return strings.Map(func(c rune) rune {
		if unicode.IsLetter(c) || unicode.IsDigit(c) {
			return c
		}
		return -1
	}, name)
}

// unlike is how much two names differ, of 1, and whether they are alike: one begins as the other's letters do, or most
// of their letters are the same.
func unlike(name, own string) (d float64, alike bool) {
	if own == "" || name == "" {
		return 1, false
	}
	d = float64(usererr.Edits(name, own)) / float64(max(len(name), len(own)))
	letters := strings.TrimRightFunc(own, unicode.IsDigit)
	return d, strings.HasPrefix(name, letters) || d < 0.5
}
