//go:build !js

package dataset

import (
	"bytes"
	"errors"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/token"

	"qlora-wgpu/internal/usererr"
)

// declaredConfig is one of the configs in the head of a data set's README.
type declaredConfig struct {
	Name    string `yaml:"config_name"`
	Default bool   `yaml:"default"`
	Dir     string `yaml:"data_dir"`
	Files   any    `yaml:"data_files"` // a pattern, a list of patterns, or of splits with theirs

	files []splitFiles // Files, read; nil where there are none
}

type splitFiles struct {
	split    string
	patterns []string
}

// MaxReadme is more bytes than the README of a data set needs.
const MaxReadme = 4 << 20

// configsIn are the configs that a README declares, nil where it declares none.
func configsIn(where string, readme []byte) ([]declaredConfig, error) {
	lines := bytes.Split(bytes.TrimPrefix(readme, []byte("\ufeff")), []byte("\n"))
	isRule := func(line []byte) bool { return string(bytes.TrimRight(line, " \r")) == "---" }
	if len(readme) > MaxReadme || !isRule(lines[0]) {
		return nil, nil
	}
	end := slices.IndexFunc(lines[1:], isRule)
	if end < 0 {
		return nil, nil
	}
	text := listOf(lines[1:end+1], "configs:")
	if text == "" {
		return nil, nil
	}
	wrong := func(err error) error {
		return usererr.New(readOp, where, "the configs in the head of README.md cannot be read: %w", err).Of(usererr.Format).
			Hinted("name the files instead")
	}
	if err := boundYAML(text); err != nil {
		return nil, wrong(err)
	}
	var head struct {
		Configs []declaredConfig `yaml:"configs"`
	}
	if err := yaml.Unmarshal([]byte(text), &head); err != nil {
		var located yaml.Error
		if errors.As(err, &located) { // the library shows the lines about it
			err = fmt.Errorf("line %d: %s", located.GetToken().Position.Line, located.GetMessage())
		}
		return nil, wrong(err)
	}
	for i := range head.Configs {
		c := &head.Configs[i]
		if c.Name == "" {
			c.Name = "default"
		}
		var err error
		if c.files, err = c.splits(); err != nil {
			return nil, wrong(fmt.Errorf("config %s: %w", quote(c.Name), err))
		}
	}
	return head.Configs, nil
}

// listOf are the lines of one key of a mapping: what a README declares besides is of no use here, and may be long.
func listOf(lines [][]byte, key string) string {
	from := slices.IndexFunc(lines, func(line []byte) bool { return bytes.HasPrefix(line, []byte(key)) })
	if from < 0 {
		return ""
	}
	to := from + 1
	for to < len(lines) && (len(bytes.TrimSpace(lines[to])) == 0 || bytes.ContainsAny(lines[to][:1], " -#\t\r")) {
		to++
	}
	return string(bytes.Join(lines[from:to], []byte("\n")))
}

// boundYAML refuses what takes the library time and memory that grow faster than the text.
func boundYAML(text string) error {
	const most, deepest, indented = 256 << 10, 16, 64
	if len(text) > most {
		return fmt.Errorf("they have more than %d bytes", most)
	}
	brackets := 0
	for _, t := range lexer.Tokenize(text) {
		switch t.Type {
		case token.MappingStartType, token.SequenceStartType:
			brackets++
		case token.MappingEndType, token.SequenceEndType:
			brackets--
		case token.AnchorType, token.AliasType, token.TagType:
			return fmt.Errorf("line %d: anchors and tags are not read", t.Position.Line)
		}
		if brackets > deepest || t.Position.Column > indented && t.Type == token.MappingValueType && brackets > 1 {
			return fmt.Errorf("line %d: they are nested too deep", t.Position.Line)
		}
	}
	for line := range strings.SplitSeq(text, "\n") {
		if indent := len(line) - len(strings.TrimLeft(line, " -")); indent > indented {
			return fmt.Errorf("they are nested too deep")
		}
	}
	return nil
}

// splits reads data_files.
func (c *declaredConfig) splits() (list []splitFiles, err error) {
	patterns := func(value any) (all []string, err error) {
		switch v := value.(type) {
		case string:
			return []string{c.below(v)}, nil
		case []any:
			for _, one := range v {
				text, ok := one.(string)
				if !ok {
					return nil, fmt.Errorf("a pattern of files is no text: %v", one)
				}
				all = append(all, c.below(text))
			}
			return all, nil
		}
		return nil, fmt.Errorf("data_files is no text and no list of them: %v", value)
	}
	add := func(split string, value any) error {
		all, err := patterns(value)
		list = append(list, splitFiles{split, all})
		return err
	}
	switch v := c.Files.(type) {
	case nil:
		return nil, nil
	case map[string]any: // split: patterns
		for split, value := range v {
			if err := add(split, value); err != nil {
				return nil, err
			}
		}
	case []any:
		if len(v) == 0 {
			return nil, nil
		}
		if _, plain := v[0].(string); plain {
			return list, add(Train, v)
		}
		for _, one := range v {
			entry, ok := one.(map[string]any)
			split, named := entry["split"].(string)
			if !ok || !named {
				return nil, fmt.Errorf("data_files has an entry without a split")
			}
			if err := add(split, entry["path"]); err != nil {
				return nil, err
			}
		}
	default:
		err = add(Train, v)
	}
	return list, err
}

func (c *declaredConfig) below(pattern string) string {
	return strings.TrimPrefix(path.Join(c.Dir, pattern), "./")
}

// chosen is the config that is meant.
func (l *Layout) chosen(declared []declaredConfig) (*declaredConfig, error) {
	names := make([]string, len(declared))
	byName := func(name string) *declaredConfig {
		if at := slices.Index(names, name); at >= 0 {
			return &declared[at]
		}
		return nil
	}
	for i := range declared {
		names[i] = declared[i].Name
	}
	if l.Config != "" {
		if c := byName(l.Config); c != nil {
			return c, nil
		}
		return nil, l.missing("config", l.Config, names)
	}
	if at := slices.IndexFunc(declared, func(c declaredConfig) bool { return c.Default }); at >= 0 {
		return &declared[at], nil
	}
	if c := byName("default"); c != nil {
		return c, nil
	}
	if len(declared) == 1 {
		return &declared[0], nil
	}
	return nil, l.which("config", names)
}

// match finds the files of a config's patterns.
func (l *Layout) match(c *declaredConfig, names []string) error {
	for _, s := range c.files {
		for _, pattern := range s.patterns {
			glob, err := globOf(pattern)
			if err != nil {
				return l.fail("the pattern %s of config %s: %w", quote(pattern), quote(c.Name), err).Of(usererr.Format)
			}
			for _, name := range names {
				if containerOf(name) != "" && glob.MatchString(name) && !slices.Contains(l.Splits[s.split], name) {
					l.Splits[s.split] = append(l.Splits[s.split], name)
				}
			}
		}
		if len(l.Splits[s.split]) == 0 {
			delete(l.Splits, s.split)
			l.without = append(l.without, s)
		}
		slices.Sort(l.Splits[s.split])
	}
	if len(l.Splits) == 0 && len(l.without) > 0 {
		return l.noFiles(l.without[0])
	}
	return nil
}

// noFiles says of a declared split that it has none.
func (l *Layout) noFiles(s splitFiles) error {
	return l.fail("the split %s of config %s has no files: none fits %s", quote(s.split), quote(l.Config), quotedList(s.patterns))
}

// globOf is a pattern as fsspec reads it: "*" and "?" within a folder, "**" over folders, "[0-9]"; a folder is all that
// is in it.
func globOf(pattern string) (*regexp.Regexp, error) {
	var out strings.Builder
	for i := 0; i < len(pattern); i++ {
		switch rest := pattern[i:]; {
		case strings.HasPrefix(rest, "**/"):
			out.WriteString(`(?:.*/)?`)
			i += 2
		case strings.HasPrefix(rest, "**"):
			out.WriteString(`.*`)
			i++
		case rest[0] == '*':
			out.WriteString(`[^/]*`)
		case rest[0] == '?':
			out.WriteString(`[^/]`)
		case rest[0] == '[' && strings.Contains(rest, "]"):
			end := strings.IndexByte(rest, ']')
			class := regexp.QuoteMeta(strings.TrimLeft(rest[1:end], "!^"))
			class = strings.ReplaceAll(class, `\-`, "-")
			if strings.ContainsAny(rest[1:min(2, end)], "!^") {
				class = "^" + class
			}
			out.WriteString("[" + class + "]")
			i += end
		default:
			out.WriteString(regexp.QuoteMeta(rest[:1]))
		}
	}
	return regexp.Compile(`^` + out.String() + `(?:/.*)?$`)
}
