//go:build js

// Package browser is what the engine needs of a dedicated worker: waiting for promises, reading files that the user
// picked, the origin's private file system (OPFS), and a yield that lets messages in. It knows nothing of training.
package browser

import (
	"context"
	"errors"
	"fmt"
	"syscall/js"
)

// Await waits for a promise; a rejection is an error with its text, and a cancelled ctx gives ctx's error once the
// promise has settled, beside what it was fulfilled with: whoever wants to give that back gets it. It must not be
// called from inside a js.FuncOf callback.
func Await(ctx context.Context, promise js.Value) (js.Value, error) {
	type result struct {
		value js.Value
		err   error
	}
	done := make(chan result, 1)
	resolved := js.FuncOf(func(_ js.Value, args []js.Value) any {
		v := js.Undefined()
		if len(args) > 0 {
			v = args[0]
		}
		done <- result{value: v}
		return nil
	})
	rejected := js.FuncOf(func(_ js.Value, args []js.Value) any {
		done <- result{err: errors.New(args[0].Call("toString").String())}
		return nil
	})
	promise.Call("then", resolved, rejected)
	r := <-done
	resolved.Release()
	rejected.Release()
	if r.err == nil {
		r.err = ctx.Err()
	}
	return r.value, r.err
}

// try gives what a call threw as an error.
func try(call func() js.Value) (value js.Value, err error) {
	defer func() {
		if thrown := recover(); thrown != nil {
			failure, ok := thrown.(js.Error)
			if !ok {
				panic(thrown)
			}
			err = errors.New(failure.Value.Call("toString").String())
		}
	}()
	return call(), nil
}

// Yield lets the worker's other tasks run, its messages among them: a goroutine that only computes would keep them
// waiting. A message to oneself is cheaper than a timer.
func Yield() {
	if yield.channel.IsUndefined() {
		yield.channel = js.Global().Get("MessageChannel").New()
		yield.channel.Get("port1").Set("onmessage", js.FuncOf(func(js.Value, []js.Value) any {
			yield.done <- struct{}{}
			return nil
		}))
	}
	yield.channel.Get("port2").Call("postMessage", 0)
	<-yield.done
}

var yield = struct {
	channel js.Value
	done    chan struct{}
}{js.Undefined(), make(chan struct{}, 64)}

// Fetch reads a file of the page's own server.
func Fetch(ctx context.Context, url string) (*Blob, error) {
	response, err := Await(ctx, js.Global().Call("fetch", url))
	if err != nil {
		return nil, fmt.Errorf("fetch %s: %w", url, err)
	}
	if !response.Get("ok").Bool() {
		return nil, fmt.Errorf("fetch %s: status %d", url, response.Get("status").Int())
	}
	blob, err := Await(ctx, response.Call("blob"))
	if err != nil {
		return nil, fmt.Errorf("fetch %s: %w", url, err)
	}
	return NewBlob(blob), nil
}
