package frozen

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// mixed keeps each linear in a format of its own.
type mixed struct {
	own    map[string]Format
	common Format // that most have
}

// Mixed keeps linears, of which there is one at least, as the model's files hold them, each by its name. A linear that
// is not among them has the format that most have.
func Mixed(own map[string]Format) Formats {
	counts := map[Format]int{}
	for _, name := range slices.Sorted(maps.Keys(own)) {
		counts[own[name]]++
	}
	m := &mixed{own: own}
	for format, n := range counts {
		if best := counts[m.common]; n > best || n == best && format.Key() < m.common.Key() {
			m.common = format
		}
	}
	return m
}

func (m *mixed) Of(linear string) Format {
	if format, ok := m.own[linear]; ok {
		return format
	}
	return m.common
}

// String names the format that most have, and how many have others.
func (m *mixed) String() string {
	text := fmt.Sprint(m.common) + " as the model's files hold it"
	counts := map[string]int{}
	for _, format := range m.own {
		if format != m.common {
			counts[fmt.Sprint(format)]++
		}
	}
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		text += fmt.Sprintf(", %d of %d linears: %s", counts[name], len(m.own), name)
	}
	return text
}

func (m *mixed) Key() string {
	var list []string
	for _, name := range slices.Sorted(maps.Keys(m.own)) {
		list = append(list, name+": "+m.own[name].Key())
	}
	return strings.Join(list, ", ")
}

func (*mixed) Cached() bool { return false } // the model file is as quick to read

// Header is what some format has; those that have one have the same.
func (m *mixed) Header() (header []byte) {
	for _, format := range m.own {
		if header = format.Header(); header != nil {
			break
		}
	}
	return header
}
