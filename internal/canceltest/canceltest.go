// Package canceltest cancels what a test runs at a place that can be found again: when the context is looked at for the
// n-th time. Only tests import it.
package canceltest

import (
	"context"
	"sync/atomic"
	"testing"
	"time"
)

// Context is a context that counts how often Err is asked.
type Context struct {
	context.Context
	cancel    context.CancelFunc
	looks, at atomic.Int64
	cancelled atomic.Int64 // when, in nanoseconds; 0: not
}

// At makes a context that is cancelled as it is looked at for the look-th time, counting from 1; 0: it is not.
func At(t testing.TB, look int64) *Context {
	c := &Context{}
	c.Context, c.cancel = context.WithCancel(t.Context())
	t.Cleanup(c.cancel)
	c.at.Store(look)
	return c
}

// Err implements context.Context.
func (c *Context) Err() error {
	if c.looks.Add(1) == c.at.Load() {
		c.Cancel()
	}
	return c.Context.Err()
}

// Cancel cancels it now.
func (c *Context) Cancel() {
	c.cancelled.CompareAndSwap(0, time.Now().UnixNano())
	c.cancel()
}

// CancelAfter cancels it at the look-th look from now on.
func (c *Context) CancelAfter(look int64) { c.at.Store(c.looks.Load() + look) }

// Looks is how often it was looked at.
func (c *Context) Looks() int64 { return c.looks.Load() }

// Cancelled tells whether it is, which is no look.
func (c *Context) Cancelled() bool { return c.Context.Err() != nil }

// Late is how long ago it was cancelled; 0: it is not.
func (c *Context) Late() time.Duration {
	at := c.cancelled.Load()
	if at == 0 {
		return 0
	}
	return time.Since(time.Unix(0, at))
}
