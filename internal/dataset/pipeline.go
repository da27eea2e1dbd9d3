package dataset

import (
	"runtime"
	"sync"
)

const (
	chunkRows  = 64
	chunkBytes = 1 << 20 // roughly, before a chunk of fewer rows goes on its way
)

// chunk is rows that one goroutine encodes.
type chunk struct {
	first   int // index of the first row
	rows    []Row
	encoded []encodedRow // as many as the rows up to the first mistake, once done is closed
	done    chan struct{}
}

// encodeRows encodes on all cores and gives the rows to take in their order. What is on the way is bounded, whatever
// the number of rows. The error is the first one in the rows' order: take's, or that of reading them.
func (e Encoder) encodeRows(s *Source, stop func() error, take func(index int, row Row, encoded encodedRow) error) error {
	workers := runtime.GOMAXPROCS(0)
	work, inOrder, ended := make(chan *chunk), make(chan *chunk, 2*workers), make(chan struct{})
	var unread error
	var group sync.WaitGroup
	group.Go(func() {
		unread = eachChunk(s, func(c *chunk) error {
			for _, to := range []chan *chunk{inOrder, work} {
				select {
				case to <- c:
				case <-ended:
					return errEnough
				}
			}
			return stop()
		})
		close(work)
		close(inOrder)
	})
	for range workers {
		group.Go(func() {
			for c := range work {
				e.encodeChunk(c, stop)
			}
		})
	}
	err := collectChunks(inOrder, stop, take)
	close(ended)
	group.Wait()
	if err == nil {
		err = unread
	}
	return err
}

func collectChunks(inOrder <-chan *chunk, stop func() error, take func(int, Row, encodedRow) error) error {
	for c := range inOrder {
		<-c.done
		if err := stop(); err != nil {
			return err
		}
		for i, encoded := range c.encoded {
			if err := take(c.first+i, c.rows[i], encoded); err != nil {
				return err
			}
		}
	}
	return stop()
}

// eachChunk cuts the rows into chunks, up to an error.
func eachChunk(s *Source, do func(*chunk) error) error {
	next, size := &chunk{done: make(chan struct{})}, 0
	err := s.Each(func(index int, row Row) error {
		next.rows = append(next.rows, row)
		if size += row.size(); len(next.rows) < chunkRows && size < chunkBytes {
			return nil
		}
		full := next
		next, size = &chunk{first: index + 1, done: make(chan struct{})}, 0
		return do(full)
	})
	if err == nil && len(next.rows) > 0 {
		err = do(next)
	}
	return err
}

// size is about how many bytes a row takes.
func (r Row) size() int {
	const row, turn = 128, 128
	n := row + len(r.Text) + len(r.Tools) + len(r.TemplateArgs)
	for _, m := range r.Messages {
		n += turn + len(m.Content)
		for _, f := range m.Fields {
			n += len(f.Name) + len(f.Value)
		}
	}
	return n
}

func (e Encoder) encodeChunk(c *chunk, stop func() error) {
	defer close(c.done)
	for i, row := range c.rows {
		if stop() != nil {
			return
		}
		encoded := e.encodeRow(row, c.first+i)
		c.encoded = append(c.encoded, encoded)
		if encoded.err != nil {
			return
		}
		if e.Encoded != nil {
			e.Encoded()
		}
	}
}
