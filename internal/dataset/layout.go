//go:build !js

package dataset

import (
	"errors"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"

	"qlora-wgpu/internal/usererr"
)

// Layout is which files of a folder, or of a repository of the hub, belong to which split.
type Layout struct {
	Path   string              // of the folder, or the repository's name
	Config string              // empty: there is one alone, without a name
	Splits map[string][]string // files by split, each with "/" between folders, in the order of their names

	unassigned []string     // files with rows that belong to no split
	without    []splitFiles // splits that are declared, and of whose files there are none
}

// ErrNoFiles is in the error of a folder, or repository, without files that have rows.
var ErrNoFiles = errors.New("there is no file with rows")

// Splits by the words that name them in files and folders, as Hugging Face's datasets has them.
const (
	Train      = "train"
	Validation = "validation"
	Test       = "test"
)

var splitWords = map[string]string{
	"train": Train, "training": Train, "validation": Validation, "valid": Validation, "val": Validation, "dev": Validation,
	"test": Test, "testing": Test, "eval": Test, "evaluation": Test,
}

// words are what stands between digits and signs.
var words = regexp.MustCompile(`[a-z]+`)

// splitIn is the split that a text names, empty where it names none.
func splitIn(text string) string {
	for _, word := range words.FindAllString(strings.ToLower(text), -1) {
		if split := splitWords[word]; split != "" {
			return split
		}
	}
	return ""
}

// splitOf is the split that a file belongs to by its name, or that of the folder nearest to it.
func splitOf(name string) string {
	for part := range strings.SplitSeq(reversed(stem(name)), "/") {
		if split := splitIn(part); split != "" {
			return split
		}
	}
	return ""
}

// reversed has the folders of a name behind it, the nearest first.
func reversed(name string) string {
	parts := strings.Split(name, "/")
	slices.Reverse(parts)
	return strings.Join(parts, "/")
}

func stem(name string) string { return strings.TrimSuffix(unpackedName(name), extensionOf(name)) }

// LayoutOf lays out these files of path. readme is the README's text, whose head may say which files make which splits
// of which configs, nil where there is none. An empty config is the one that is meant without a name.
func LayoutOf(where string, names []string, readme []byte, config string) (*Layout, error) {
	l := &Layout{Path: where, Config: config, Splits: map[string][]string{}}
	names = slices.Sorted(slices.Values(names))
	if !slices.ContainsFunc(names, HasRows) {
		return nil, l.nothing(names)
	}
	declared, err := configsIn(where, readme)
	if err != nil {
		return nil, err
	}
	if declared != nil {
		chosen, err := l.chosen(declared)
		if err != nil {
			return nil, err
		}
		l.Config = chosen.Name
		if chosen.files != nil {
			return l, l.match(chosen, names)
		}
		names = below(names, chosen.Dir)
	} else if names, err = l.folder(names); err != nil {
		return nil, err
	}
	l.assign(names)
	if len(l.Splits) == 0 {
		return nil, l.nothing(names)
	}
	return l, nil
}

func (l *Layout) fail(format string, args ...any) *usererr.Error {
	return usererr.New(readOp, l.Path, format, args...)
}

// assign finds the splits of files by their names; where none has one, all are what is trained on.
func (l *Layout) assign(names []string) {
	var others []string
	for _, name := range names {
		switch split := splitOf(name); {
		case containerOf(name) == "":
		case split != "":
			l.Splits[split] = append(l.Splits[split], name)
		case !strings.HasPrefix(containerOf(name), "text") || extensionOf(name) == ".txt":
			others = append(others, name)
		}
	}
	if len(l.Splits) == 0 && len(others) > 0 {
		l.Splits[Train] = others
	} else {
		l.unassigned = others
	}
}

// converted tells files that the hub itself made of a repository: config/split/0000.parquet.
var converted = regexp.MustCompile(`^([^/]+)/(?:partial-)?[^/]+/\d{4}\.parquet$`)

// folder are the files of the config, where folders stand for configs.
func (l *Layout) folder(names []string) ([]string, error) {
	configs := map[string]bool{}
	all := true
	for _, name := range names {
		if containerOf(name) == "" {
			continue
		}
		found := converted.FindStringSubmatch(name)
		if all = all && found != nil; found != nil {
			configs[found[1]] = true
		}
	}
	switch known := slices.Sorted(maps.Keys(configs)); {
	case all && len(known) > 0 && l.Config == "" && (len(known) == 1 || configs["default"]):
		l.Config = "default"
		if len(known) == 1 {
			l.Config = known[0]
		}
	case all && len(known) > 0 && l.Config == "":
		return nil, l.which("config", known)
	case l.Config == "":
		return names, nil
	}
	inside := below(names, l.Config)
	if len(inside) == 0 {
		folders := map[string]bool{}
		for _, name := range names {
			if folder, _, ok := strings.Cut(name, "/"); ok && containerOf(name) != "" {
				folders[folder] = true
			}
		}
		return nil, l.missing("config", l.Config, slices.Sorted(maps.Keys(folders)))
	}
	return inside, nil
}

// below are the names below a folder, of which only what lies below tells the split.
func below(names []string, folder string) []string {
	folder = strings.Trim(path.Clean("/"+folder), "/")
	if folder == "" {
		return names
	}
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool { return !strings.HasPrefix(name, folder+"/") })
}

func (l *Layout) which(what string, names []string) error {
	return l.fail("there are several %ss: %s", what, quotedList(names)).Hinted("say which: --data-%s %s", what, names[0])
}

func (l *Layout) missing(what, name string, names []string) error {
	e := l.fail("there is no %s %s", what, quote(name))
	if len(names) == 0 {
		return e.Hinted("it has none with a name")
	}
	return e.Hinted("there are %s", quotedList(names))
}

// nothing says what there is in the place of rows.
func (l *Layout) nothing(names []string) error {
	if slices.ContainsFunc(names, func(name string) bool { return strings.HasSuffix(name, ".arrow") }) {
		return l.fail("it has Arrow files alone, as save_to_disk of datasets writes them").Of(usererr.Unsupported).
			Hinted("write it by to_parquet or to_json: datasets.load_from_disk(…).to_parquet(\"train.parquet\")")
	}
	return l.fail("%w", ErrNoFiles).
		Hinted("name a file, or put train.jsonl (and valid.jsonl) into the folder; Parquet, CSV and other files do too")
}

// Choose gives the names of the split to train on, or to measure, and of the one to evaluate on, empty where there is
// none. An empty name is the one that is for training, to which what is for validation belongs.
func (l *Layout) Choose(split string) (train, valid string, err error) {
	known := slices.Sorted(maps.Keys(l.Splits))
	of := func(kind string) (found []string) {
		if _, there := l.Splits[kind]; there {
			return []string{kind}
		}
		for _, name := range known {
			if splitIn(name) == kind {
				found = append(found, name)
			}
		}
		return found
	}
	if split != "" {
		if _, there := l.Splits[split]; there {
			return split, "", nil
		}
		if kind := splitWords[strings.ToLower(split)]; kind != "" {
			if found := of(kind); len(found) == 1 {
				return found[0], "", nil
			}
		}
		for _, s := range l.without {
			if s.split == split {
				return "", "", l.noFiles(s)
			}
		}
		return "", "", l.missing("split", split, known)
	}
	for _, s := range l.without {
		if s.split == Train {
			return "", "", l.noFiles(s)
		}
	}
	switch found := of(Train); len(found) {
	case 0:
		if len(known) == 1 {
			return known[0], "", nil
		}
		return "", "", l.missing("split", Train, known)
	case 1:
		train = found[0]
	default:
		return "", "", l.which("split", found)
	}
	if found := of(Validation); len(found) == 1 {
		valid = found[0]
	}
	return train, valid, nil
}

// Notes say what of the folder is not used.
func (l *Layout) Notes(used ...string) (notes []string) {
	for _, split := range slices.Sorted(maps.Keys(l.Splits)) {
		if !slices.Contains(used, split) {
			notes = append(notes, "not used: split "+quote(split))
		}
	}
	if len(l.unassigned) > 0 {
		notes = append(notes, "not used: "+quotedList(l.unassigned)+", whose names are of no split")
	}
	return notes
}
