package lora

import (
	"errors"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// modules is target_modules or exclude_modules. PEFT matches a string as a regular expression with the whole name of a
// module, and of a list each entry with the name or its end behind a dot.
type modules struct {
	list  []string
	match *regexp.Regexp
	// open is true where the value names no linear by itself: null, of which PEFT makes a default by the model's type, and
	// an expression with parts that Go's has not, such as look-aheads. Nothing is then known but what the tensors say.
	open bool
	all  bool // "all-linear"
}

// compile compiles an expression of Python's with what stands around it. What Go's have not is an error: look-arounds,
// references to groups, and a repetition {,n}, which would match these signs.
func compile(before, text, behind string) (*regexp.Regexp, error) {
	if _, err := regexp.Compile(text); err != nil {
		return nil, err
	}
	if strings.Contains(text, "{,") {
		return nil, errors.New("a repetition {,n} has to be written {0,n}")
	}
	return regexp.Compile(before + text + behind)
}

// expression is a modules of one string.
func expression(text string) modules {
	if strings.EqualFold(text, allLinear) {
		return modules{all: true}
	}
	match, err := compile(`^(?:`, text, `)$`)
	return modules{match: match, open: err != nil}
}

// suffixOf tells whether an entry of a list names a module.
func suffixOf(entry, module string) bool {
	return module == entry || strings.HasSuffix(module, "."+entry)
}

// names tells whether it names a module.
func (m modules) names(module string) bool {
	return m.all || m.match != nil && m.match.MatchString(module) ||
		slices.ContainsFunc(m.list, func(entry string) bool { return suffixOf(entry, module) })
}

// selection is which linears a configuration names. Source: check_target_module_exists in PEFT's tuners_utils.py.
type selection struct {
	target, exclude modules
	layers          []int            // layers_to_transform; nil: all
	numbered        []*regexp.Regexp // what gives a module's layer
}

// anyLayer is the first number behind two names.
var anyLayer = regexp.MustCompile(`^.*?\.[^.]*\.(\d+)\.`)

// layerOf is what gives the layer of a module below a layers_pattern; nil where it has parts that Go's expressions have
// not.
func layerOf(pattern string) *regexp.Regexp {
	match, err := compile(`^(?:|.*?\.)(?:`, pattern, `)\.(\d+)\.`)
	if err != nil || match.NumSubexp() != 1 {
		return nil
	}
	return match
}

// names tells whether the configuration names a module; known is false where that cannot be told.
func (s selection) names(module string) (named, known bool) {
	switch {
	case s.exclude.names(module):
		return false, true
	case s.target.open || s.exclude.open:
		return false, false
	case slices.Contains(s.target.list, module):
		return true, true
	case !s.target.names(module):
		return false, true
	case s.layers == nil || s.target.list == nil:
		return true, true
	}
	for _, match := range s.numbered {
		if match == nil {
			return false, false
		}
		if found := match.FindStringSubmatch(module); found != nil {
			layer, err := strconv.Atoi(found[1])
			return err == nil && slices.Contains(s.layers, layer), true
		}
	}
	return false, true
}

// Pattern gives linears a rank or an alpha of their own, as an entry of PEFT's rank_pattern and alpha_pattern.
type Pattern struct {
	Key   string // a regular expression for the name of a module, or for its end behind a dot
	Value float64

	match *regexp.Regexp
}

// newPattern compiles the key.
func newPattern(key string, value float64) (Pattern, error) {
	match, err := compile(`^(?:.*\.)?(?:`, key, `)$`)
	return Pattern{Key: key, Value: value, match: match}, err
}

// valueFor is the value of the first pattern that names the module.
func valueFor(patterns []Pattern, module string, fallback float64) float64 {
	for _, p := range patterns {
		if p.match.MatchString(module) {
			return p.Value
		}
	}
	return fallback
}
