package paging

import (
	"context"

	"golang.org/x/sync/errgroup"
)

// Section is a run of a model's frozen bytes: a layer's region, or the rows of a table. Its parts are the same bytes
// on disk, in host memory and on the device.
type Section struct {
	Parts []int64 // bytes of each part
	// Make computes the parts from the model file and hands them to emit in order, each from its first byte to its
	// last, whole or in pieces. It does not touch again what it has handed over. A cancelled ctx ends it between the
	// tensors.
	Make func(ctx context.Context, emit func(data []byte) error) error
	// Place puts a piece of a part, from byte at on, where the model reaches it. It may keep data.
	Place func(part int, at int64, data []byte) error
}

// Cache keeps the parts of quantized models between runs. What goes wrong with it costs time and no run, so it has no
// errors: it says itself what it meets.
type Cache interface {
	// Find gives the bytes of every part, if it holds parts of these settings and sizes, else nil. They may lie in a
	// mapped file, and are valid until Release.
	Find(ctx context.Context, settings string, sizes []int64) [][]byte
	// Create starts to keep parts: write takes the bytes of all of them in order, and finish makes them a part of the
	// cache if they are complete, and else drops them. Both are nil where it cannot.
	Create(settings string, sizes []int64) (write func(data []byte), finish func(complete bool))
	// Release ends the validity of what Find gave.
	Release()
}

// Progress is how much of the sections is in place.
type Progress struct {
	Sections, OfSections int
	Bytes, OfBytes       int64
}

// Load puts all sections in place: from the cache (nil: there is none), or made from the model file and then kept.
// The next sections are made while one is being placed. settings name all that the bytes depend on beside the model
// file and the sizes. progress is told after each piece; it may be nil. Errors are what Make and Place return, and
// ctx's; what was placed before stays.
func Load(ctx context.Context, sections []Section, cache Cache, settings string, progress func(Progress)) error {
	var sizes []int64
	for _, s := range sections {
		sizes = append(sizes, s.Parts...)
	}
	at := Progress{OfSections: len(sections)}
	for _, size := range sizes {
		at.OfBytes += size
	}
	placed := func(bytes int, section bool) {
		at.Bytes += int64(bytes)
		if section {
			at.Sections++
		}
		if progress != nil {
			progress(at)
		}
	}
	if cache != nil {
		if parts := cache.Find(ctx, settings, sizes); parts != nil {
			return placeAll(ctx, sections, parts, placed)
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	var keep func(data []byte)
	var finish func(complete bool)
	if cache != nil {
		keep, finish = cache.Create(settings, sizes)
	}
	err := makeAll(ctx, sections, keep, placed)
	if finish != nil {
		finish(err == nil)
	}
	return err
}

// placeAll places parts that are all there.
func placeAll(ctx context.Context, sections []Section, parts [][]byte, placed func(bytes int, section bool)) error {
	for _, s := range sections {
		for j := range s.Parts {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := s.Place(j, 0, parts[j]); err != nil {
				return err
			}
			placed(len(parts[j]), j == len(s.Parts)-1)
		}
		parts = parts[len(s.Parts):]
	}
	return nil
}

// makeAll makes sections in one goroutine and places them in this one: the device is no other's.
func makeAll(ctx context.Context, sections []Section, keep func(data []byte), placed func(bytes int, section bool)) error {
	group, ctx := errgroup.WithContext(ctx)
	pieces := make(chan []byte)
	group.Go(func() error {
		defer close(pieces)
		for _, s := range sections {
			err := s.Make(ctx, func(data []byte) error {
				if err := ctx.Err(); err != nil {
					return err // the other side may be ready, too
				}
				select {
				case pieces <- data:
					return nil
				case <-ctx.Done():
					return ctx.Err()
				}
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	place := func() error {
		for _, s := range sections {
			for j, size := range s.Parts {
				for at := int64(0); at < size; {
					data, more := <-pieces
					if !more {
						return nil // the maker's error tells why
					}
					if err := s.Place(j, at, data); err != nil {
						return err
					}
					if keep != nil {
						keep(data)
					}
					at += int64(len(data))
					placed(len(data), j == len(s.Parts)-1 && at >= size)
				}
			}
		}
		return nil
	}
	err := place()
	if err != nil {
		// Ends the maker, whose own error would be the context's.
		group.Go(func() error { return err })
	}
	return group.Wait()
}
