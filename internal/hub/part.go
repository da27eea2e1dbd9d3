//go:build !js

package hub

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// address of a file's bytes at a commit.
func (h *Hub) address(n Name, commit string, f File) string {
	prefix := ""
	if n.Type == Datasets {
		prefix = "datasets/"
	}
	parts := strings.Split(f.Name, "/")
	for i, part := range parts {
		parts[i] = url.PathEscape(part)
	}
	return fmt.Sprintf("%s/%s%s/resolve/%s/%s", h.Endpoint, prefix, n.Repo, commit, strings.Join(parts, "/"))
}

// fetchPart fetches a part to its place.
func (g *group) fetchPart(ctx context.Context, f File, p *partial, i int) error {
	first := int64(i) * p.part
	to := func(done int64) io.Writer { return io.NewOffsetWriter(p.bytes, first+done) }
	if err := g.copyWhole(ctx, f, to, first, span(f, p.part, i)); err != nil {
		return err
	}
	return p.note(i)
}

// copyWhole fetches bytes of a file to where to leads behind those that are done: from where it broke off, as long as
// bytes come between two tries. What does not come whole is not told.
func (g *group) copyWhole(ctx context.Context, f File, to func(done int64) io.Writer, first, size int64) error {
	done, failed := int64(0), 0
	for done < size {
		n, err := g.copyRange(ctx, f, to(done), first+done, size-done)
		if done += n; err == nil {
			break
		}
		if failed++; n > 0 {
			failed = 1
		}
		switch _, broke := err.(*broken); {
		case ctx.Err() != nil:
			err = ctx.Err()
		case broke && failed < tries:
			if err = g.pause(ctx, failed, err); err == nil {
				continue
			}
		case broke:
			err = fmt.Errorf("%w: the connection broke off in %s: %w", errAway, f.Name, err)
		}
		g.tell(-done)
		return err
	}
	return nil
}

// broken is an answer that ended before its end.
type broken struct{ err error }

func (b *broken) Error() string { return b.err.Error() }
func (b *broken) Unwrap() error { return b.err }

// copyRange fetches bytes of a file and gives how many came.
func (g *group) copyRange(ctx context.Context, f File, to io.Writer, first, size int64) (int64, error) {
	last := first + size - 1
	if first == 0 && size == f.Size {
		last = -1 // the whole
	}
	answer, err := g.ask(ctx, g.address(g.name, g.commit, f), first, last)
	if err != nil {
		return 0, err
	}
	defer answer.Body.Close()
	switch {
	case answer.StatusCode == http.StatusPartialContent:
		from, total, ok := contentRange(answer.Header.Get("Content-Range"))
		if !ok || from != first || total >= 0 && total != f.Size {
			return 0, fmt.Errorf("asked for bytes %d to %d of %d of %s, the answer is %q", first, last, f.Size, f.Name,
				answer.Header.Get("Content-Range"))
		}
	case first > 0: // the whole, from a server that knows no ranges
		if _, err := io.CopyN(io.Discard, answer.Body, first); err != nil {
			return 0, &broken{err}
		}
	}
	body := &counted{Reader: io.LimitReader(answer.Body, size), tell: g.tell}
	n, err := io.Copy(to, body)
	switch {
	case body.err != nil && body.err != io.EOF:
		return n, &broken{body.err}
	case err != nil:
		return n, err // of the disk
	case n < size:
		return n, &broken{io.ErrUnexpectedEOF}
	}
	return n, nil
}

// counted tells how many bytes are read, and keeps the reader's error apart from the writer's.
type counted struct {
	io.Reader
	tell func(int64)
	err  error
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.tell(int64(n))
	if err != nil {
		c.err = err
	}
	return n, err
}

// contentRange reads "bytes FIRST-LAST/TOTAL"; the total is -1 for "*".
func contentRange(text string) (first, total int64, ok bool) {
	var last int64
	var size string
	if n, err := fmt.Sscanf(text, "bytes %d-%d/%s", &first, &last, &size); n != 3 || err != nil || first < 0 || last < first {
		return 0, 0, false
	}
	if size == "*" {
		return first, -1, true
	}
	if n, err := fmt.Sscanf(size, "%d", &total); n != 1 || err != nil || total <= last {
		return 0, 0, false
	}
	return first, total, true
}
