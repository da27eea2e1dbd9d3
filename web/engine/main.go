//go:build js

// Command engine is the trainer in a dedicated worker of the page: requests in, replies and events out. A request is
// {id, op, args, files}, args JSON text and files a list of File objects; a reply {id, result} or {id, error}; an event
// {event, …}. All but requests are JSON text, except that a reply that carries a file is {id, name, bytes}.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
	"syscall/js"

	"qlora-wgpu/internal/browser"
	"qlora-wgpu/internal/usererr"
)

// request is what the page wants.
type request struct {
	id    int
	op    string
	args  []byte
	files []file
}

// file is one that the user picked, or that lies beside the page.
type file struct {
	name string
	blob *browser.Blob
}

// download is a reply that the page offers as a file.
type download struct {
	name string
	data []byte
}

func (r request) decode(v any) error {
	if err := json.Unmarshal(r.args, v); err != nil {
		return fmt.Errorf("request %s: %w", r.op, err)
	}
	return nil
}

// operations that wait for each other, in the order of the page's requests.
var operations = map[string]func(*engine, context.Context, request) (any, error){
	"hello": (*engine).hello, "model": (*engine).openModel, "data": (*engine).openData, "preview": (*engine).preview,
	"train": (*engine).train, "ask": (*engine).ask, "measure": (*engine).measure, "forget": (*engine).forget,
	"adapter": (*engine).adapterFile, "checkpoint": (*engine).checkpointFile, "restore": (*engine).restore,
}

// atOnce are operations that do not wait for a running one.
var atOnce = map[string]func(*engine, context.Context, request) (any, error){
	"pause": (*engine).pause, "inspect": (*engine).inspect, "prepare": (*engine).prepare,
}

func main() {
	e := &engine{}
	ctx := context.Background()
	queue := make(chan request, 1024) // more than a page can have asked for
	js.Global().Set("onmessage", js.FuncOf(func(_ js.Value, args []js.Value) any {
		r := parse(args[0].Get("data"))
		if run := atOnce[r.op]; run != nil {
			go reply(r, func() (any, error) { return run(e, ctx, r) })
		} else {
			queue <- r
		}
		return nil
	}))
	post(map[string]any{"event": "ready"})
	for r := range queue {
		reply(r, func() (any, error) {
			run := operations[r.op]
			if run == nil {
				return nil, fmt.Errorf("there is no operation %q", r.op)
			}
			return run(e, ctx, r)
		})
	}
}

func parse(message js.Value) request {
	r := request{id: message.Get("id").Int(), op: message.Get("op").String(), args: []byte(message.Get("args").String())}
	if list := message.Get("files"); list.Truthy() {
		for i := range list.Length() {
			r.files = append(r.files, file{list.Index(i).Get("name").String(), browser.NewBlob(list.Index(i))})
		}
	}
	return r
}

// failure is an error as the page shows it.
type failure struct {
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
	Input   string `json:"input,omitempty"`  // what the mistake is in: usererr.Input
	Paused  bool   `json:"paused,omitempty"` // the user's own wish
}

// reply runs an operation and posts its result. A panic is a bug, and one operation's end.
func reply(r request, run func() (any, error)) {
	result, err := func() (result any, err error) {
		defer func() {
			if bug := recover(); bug != nil {
				err = fmt.Errorf("internal error: %v\n%s", bug, debug.Stack())
			}
		}()
		return run()
	}()
	switch file, isFile := result.(download); {
	case err != nil:
		post(map[string]any{"id": r.id, "error": describe(err)})
	case isFile:
		bytes := js.Global().Get("Uint8Array").New(len(file.data))
		js.CopyBytesToJS(bytes, file.data)
		js.Global().Call("postMessage", map[string]any{"id": r.id, "name": file.name, "bytes": bytes})
	default:
		post(map[string]any{"id": r.id, "result": result})
	}
}

func describe(err error) failure {
	if errors.Is(err, context.Canceled) {
		return failure{Message: "paused", Paused: true}
	}
	var mistake *usererr.Error
	if errors.As(err, &mistake) {
		plain := *mistake
		plain.Hint = ""
		return failure{Message: plain.Error(), Hint: mistake.Hint, Input: string(mistake.Input)}
	}
	return failure{Message: err.Error()}
}

func post(message any) {
	text, err := json.Marshal(message)
	if err != nil {
		panic(err) // messages are made of what JSON can hold
	}
	js.Global().Call("postMessage", string(text))
}
