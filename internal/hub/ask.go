//go:build !js

package hub

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"qlora-wgpu/internal/version"
)

// tries without a byte between them, after which a request is given up.
const tries = 5

// refusal is an answer that another try would not change.
type refusal struct {
	status int
	code   string // X-Error-Code
}

func (r *refusal) Error() string {
	return fmt.Sprintf("the hub answers with status %d %s", r.status, r.code)
}

// ask requests an address, with a range of bytes where last is not negative, until it is answered. The body of the
// answer ends with an error where no byte comes for too long. Errors are *refusal, errAway and ctx's.
func (h *Hub) ask(ctx context.Context, address string, first, last int64) (*http.Response, error) {
	var failure error
	for try := range tries {
		if try > 0 {
			if err := h.pause(ctx, try, failure); err != nil {
				return nil, err
			}
		}
		answer, err := h.askOnce(ctx, address, first, last)
		if err == nil {
			return answer, nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		var no *refusal
		if errors.As(err, &no) {
			return nil, err
		}
		failure = err
	}
	return nil, fmt.Errorf("%w: %w", errAway, failure)
}

// busy is an answer that another try may change.
type busy struct {
	status int
	after  time.Duration // that the hub wants to be left alone
}

func (b *busy) Error() string { return fmt.Sprintf("it answers with status %d", b.status) }

// pause waits before a try: longer each time, and as long as the hub says.
func (h *Hub) pause(ctx context.Context, try int, failure error) error {
	d := h.wait << (try - 1)
	if b, ok := errors.AsType[*busy](failure); ok && b.after > 0 {
		d = min(b.after, time.Minute)
	}
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (h *Hub) askOnce(ctx context.Context, address string, first, last int64) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		cancel(nil)
		return nil, err
	}
	request.Header.Set("User-Agent", "qlora-wgpu/"+version.Of().String())
	request.Header.Set("Accept-Encoding", "identity") // ranges and hashes are of the file as it is
	if h.Token != "" {
		request.Header.Set("Authorization", "Bearer "+h.Token)
	}
	if last >= 0 {
		request.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", first, last))
	}
	timer := time.AfterFunc(h.quiet, func() { cancel(fmt.Errorf("no byte came for %v", h.quiet)) })
	stop := func() { timer.Stop(); cancel(nil) }
	answer, err := h.Client.Do(request)
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		stop()
		return nil, err
	}
	answer.Body = &watched{answer.Body, timer, h.quiet, ctx, stop}
	switch s := answer.StatusCode; {
	case s == http.StatusOK || s == http.StatusPartialContent && last >= 0:
		return answer, nil
	case s == http.StatusTooManyRequests || s == http.StatusRequestTimeout || s >= 500:
		err = &busy{s, retryAfter(answer.Header.Get("Retry-After"))}
	default:
		err = &refusal{s, answer.Header.Get("X-Error-Code")}
	}
	answer.Body.Close()
	return nil, err
}

// retryAfter reads the header: seconds, or a date.
func retryAfter(text string) time.Duration {
	if seconds, err := strconv.Atoi(text); err == nil {
		return time.Duration(max(seconds, 0)) * time.Second
	}
	if date, err := http.ParseTime(text); err == nil {
		return max(time.Until(date), 0)
	}
	return 0
}

// watched is a body that ends where no byte comes for too long.
type watched struct {
	io.ReadCloser
	timer *time.Timer
	quiet time.Duration
	ctx   context.Context
	stop  func()
}

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.ReadCloser.Read(p)
	if n > 0 {
		w.timer.Reset(w.quiet)
	}
	if err != nil && err != io.EOF {
		if cause := context.Cause(w.ctx); cause != nil {
			err = cause
		}
	}
	return n, err
}

func (w *watched) Close() error {
	defer w.stop()
	return w.ReadCloser.Close()
}
