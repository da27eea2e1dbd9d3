package lora

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"qlora-wgpu/internal/usererr"
)

// refuse is the error of an adapter with matrices of linears that the model has not: which, of what modules or layers,
// and what model they were trained for.
func (f *loaded) refuse(strangers []string, linears []*Linear) error {
	what := keyPrefix + strangers[0] + keySuffixA + " has"
	if n := len(strangers); n > 1 {
		what = fmt.Sprintf("%d of its %d linears, %s, have", n, len(f.adapted), firstOf(strangers))
	}
	if name := strangers[0]; strings.HasSuffix(name, "lm_head") || strings.HasSuffix(name, "embed_tokens") {
		return usererr.New(opLoad, f.path, "%s no place in the model", what).Of(usererr.Unsupported).
			Hinted("only linears of the layers can have an adapter, target_modules names another module: %s", merge)
	}
	err := usererr.New(opLoad, f.path, "%s no place in the model%s", what, lacking(strangers, linears)).
		Hinted("the adapter belongs to another model")
	if f.base != "" {
		err.Hint += fmt.Sprintf(", by its %s to %.100s", ConfigFile, f.base)
	}
	return err
}

// lacking says which modules of theirs the model has not, and where it has them all how many layers it has.
func lacking(strangers []string, linears []*Linear) string {
	own := modulesOf(linears)
	var lacks []string
	for _, name := range strangers {
		if m := moduleOf(name); !slices.Contains(own, m) && !slices.Contains(lacks, m) {
			lacks = append(lacks, m)
		}
	}
	if len(lacks) > 0 {
		return fmt.Sprintf(": it has no %s, its linears are %s", firstOf(lacks), strings.Join(own, ", "))
	}
	last := linears[len(linears)-1].Name
	paths := map[string]bool{}
	for _, l := range linears {
		paths[pathOf(l.Name)] = true
	}
	if slices.ContainsFunc(strangers, func(name string) bool { return paths[pathOf(name)] }) {
		return fmt.Sprintf(": its last layer is %s", number.FindString(last))
	}
	return ": its linears have names such as " + last
}

// pathOf is a linear's name without its layer.
func pathOf(name string) string {
	at := number.FindStringIndex(name)
	if at == nil {
		return name
	}
	return name[:at[0]] + name[at[1]:]
}

// number is the first number of a name between dots, which is the layer's.
var number = regexp.MustCompile(`\b\d+\b`)

// inLayers orders linears by their first number, then by their name.
func inLayers(a, b string) int {
	layer := func(name string) int {
		n, err := strconv.Atoi(number.FindString(name))
		if err != nil {
			return -1
		}
		return n
	}
	return cmp.Or(cmp.Compare(layer(a), layer(b)), strings.Compare(a, b))
}

// firstOf lists some names, and how many more there are.
func firstOf(names []string) string {
	const shown = 3
	list := strings.Join(names[:min(len(names), shown)], ", ")
	if more := len(names) - shown; more > 0 {
		list += fmt.Sprintf(" and %d more", more)
	}
	return list
}
