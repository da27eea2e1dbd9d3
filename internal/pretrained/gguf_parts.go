package pretrained

import (
	"errors"
	"regexp"

	"qlora-wgpu/internal/usererr"
)

// refusePart refuses a file that llama.cpp's gguf-split wrote: each part is a GGUF, and no part is a model.
func (g *ggufReader) refusePart() error {
	count, number := g.integer("split.count", 0), g.integer("split.no", -1)
	switch {
	case g.err != nil:
		return g.err
	case count <= 1:
		return nil
	case number < 0 || number >= count:
		return g.unsupported("the file is one of %d parts of a split model", count).Hinted(mergeParts)
	}
	return g.unsupported("the file is part %d of %d of a split model", number+1, count).Hinted(mergeParts)
}

const mergeParts = "merge the parts first: llama-gguf-split --merge FIRST-PART.gguf WHOLE.gguf"

// cutName is a name as tools give it to pieces of a file that was cut anywhere.
var cutName = regexp.MustCompile(`(?i)[-.]((split|part)-?[a-z0-9]+|\d+-of-\d+)(\.gguf)?$`)

// partHint says of a damaged file whose name is a piece's that the pieces have to be joined.
func partHint(err error, path string) error {
	var e *usererr.Error
	if errors.As(err, &e) && e.Kind == usererr.Format && cutName.MatchString(path) {
		e.Hint = "its name is that of a piece: join all pieces into one file first"
	}
	return err
}
