package pretrained

import (
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strings"

	"qlora-wgpu/internal/gguf"
	"qlora-wgpu/internal/usererr"
)

// part is an open file of a GGUF model, the only one where it is not split.
type part struct {
	file File
	head *gguf.File
}

// openPart opens a file of the folder and reads its header; closing the model closes it.
func (m *Model) openPart(folder Folder, name, path string) (part, error) {
	file, err := folder.Open(name)
	if err != nil {
		return part{}, usererr.New(op, path, "%w", err)
	}
	m.closers = append(m.closers, file)
	head, err := gguf.Read(file, file.Size(), path)
	return part{file, head}, partHint(err, path)
}

// partName is a name as llama.cpp's gguf-split gives it to a part: NAME, number from 1, count.
var partName = regexp.MustCompile(`^(.*)-(\d{5})-of-(\d{5})(\.gguf)$`)

// openParts opens a GGUF file and, where it is any part of a split model, the others, which lie beside it. They come in
// their order. The path is that of name, for messages.
func (m *Model) openParts(folder Folder, name, path string) ([]part, error) {
	given, err := m.openPart(folder, name, path)
	if err != nil {
		return nil, err
	}
	number, count, err := given.head.Split()
	if err != nil || count == 1 {
		return []part{given}, err
	}
	said := partName.FindStringSubmatch(name)
	end := fmt.Sprintf("-of-%05d.gguf", count)
	if said == nil || said[2]+"-of-"+said[3]+said[4] != fmt.Sprintf("%05d", number+1)+end {
		return nil, usererr.New(op, path, "the file is part %d of %d of a split model, its name does not end in -%05d%s",
			number+1, count, number+1, end).
			Hinted("name the parts so that one leads to the others, or merge them: llama-gguf-split --merge FIRST-PART.gguf WHOLE.gguf")
	}
	parts, beside := make([]part, 0, count), strings.TrimSuffix(path, name)
	var missing []string
	for i := range count {
		if i == number {
			parts = append(parts, given)
			continue
		}
		other := fmt.Sprintf("%s-%05d%s", said[1], i+1, end)
		p, err := m.openPart(folder, other, beside+other)
		if errors.Is(err, fs.ErrNotExist) {
			missing = append(missing, other)
		} else if err != nil {
			return nil, err
		}
		parts = append(parts, p)
	}
	if len(missing) > 0 {
		return nil, usererr.New(op, path, "the file is part %d of %d, and beside it there is no %s", number+1, count, firstOf(missing)).
			Hinted("fetch all parts into one folder; in a browser choose all of them at once")
	}
	return parts, nil
}

// joined are the parts as one file.
func joined(parts []part) (*gguf.File, error) {
	if len(parts) == 1 {
		return parts[0].head, nil
	}
	var heads []*gguf.File
	for _, p := range parts {
		heads = append(heads, p.head)
	}
	return gguf.Join(heads)
}

// SameModel tells whether two names are of parts of one split model.
func SameModel(a, b string) bool {
	x, y := partName.FindStringSubmatch(a), partName.FindStringSubmatch(b)
	return x != nil && y != nil && slices.Equal([]string{x[1], x[3]}, []string{y[1], y[3]})
}

// cutName is a name as tools give it to pieces of a file that was cut anywhere.
var cutName = regexp.MustCompile(`(?i)[-.]((split|part)-?[a-z0-9]+|\d+-of-\d+)(\.gguf)?$`)

// partHint says of a damaged file whose name is a piece's what to do with pieces.
func partHint(err error, path string) error {
	var e *usererr.Error
	switch {
	case !errors.As(err, &e) || e.Kind != usererr.Format:
	case partName.MatchString(path):
		e.Hint = "fetch this part again; if the parts are pieces of a file that was cut anywhere, join them into one file first"
	case cutName.MatchString(path):
		e.Hint = "its name is that of a piece: join all pieces into one file first"
	}
	return err
}
