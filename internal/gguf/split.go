package gguf

import (
	"maps"
	"math"

	"qlora-wgpu/internal/usererr"
)

// The keys that llama.cpp's gguf-split writes into each part of a split model; the first part alone has the others.
const (
	keySplitNo      = "split.no"
	keySplitCount   = "split.count"
	keySplitTensors = "split.tensors.count"
)

// Split tells which part of a split model the file is, from 0, and of how many; part 0 of 1 where it is whole, as a
// merged file says with a count of 0.
func (f *File) Split() (number, count int, err error) {
	n, _, err := f.Int(keySplitCount)
	if err != nil || n <= 1 && n >= 0 {
		return 0, 1, err
	}
	i, ok, err := f.Int(keySplitNo)
	switch {
	case err != nil:
		return 0, 1, err
	case n < 0 || n > math.MaxUint16:
		return 0, 1, f.about(keySplitCount, "is %d, 0 to %d was wanted", n, math.MaxUint16)
	case !ok:
		return 0, 1, f.about(keySplitCount, "is %d, but %s is missing", n, keySplitNo)
	case i < 0 || i >= n:
		return 0, 1, f.about(keySplitNo, "is %d of %d", i, n)
	}
	return int(i), int(n), nil
}

// Join makes one file of all parts of a split model, in their order: the metadata of the first, the tensors of each.
// Errors are *usererr.Error of kind Format: a part of another place or number, tensors that are not as many as each
// part says, a tensor in two parts.
func Join(parts []*File) (*File, error) {
	first := parts[0]
	whole := &File{path: first.path, metadata: first.metadata, index: maps.Clone(first.index), dataStart: first.dataStart}
	total := 0
	for i, part := range parts {
		number, count, err := part.Split()
		switch {
		case err != nil:
			return nil, err
		case number != i || count != len(parts):
			return nil, part.about(keySplitNo, "says part %d of %d, where part %d of %d was wanted", number+1, count, i+1, len(parts))
		}
		total += len(part.tensors)
	}
	for i, part := range parts {
		if n, ok, err := part.Int(keySplitTensors); err != nil {
			return nil, err
		} else if ok && n != int64(total) {
			return nil, part.about(keySplitTensors, "is %d, the parts have %d tensors", n, total)
		}
		whole.sources = append(whole.sources, part.sources...)
		for _, t := range part.tensors {
			if at, twice := whole.index[t.Name]; twice && i > 0 {
				return nil, bad(part.path, t.Offset, "tensor %q is in %s too", t.Name, whole.PathOf(whole.tensors[at]))
			}
			t.part = i
			whole.index[t.Name] = len(whole.tensors)
			whole.tensors = append(whole.tensors, t)
		}
	}
	return whole, nil
}

// about is an error about the value of a key, which is there.
func (f *File) about(key, format string, args ...any) *usererr.Error {
	e := bad(f.path, f.metadata[key].at, key+" "+format, args...)
	return e.Hinted("the parts are of different models, or one is damaged: fetch all of them again")
}
