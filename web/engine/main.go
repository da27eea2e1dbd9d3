//go:build js

// Command engine is the trainer in a dedicated worker of the page: requests in, replies and events out. A request is
// {id, op, args, files, to}, args JSON text, files a list of File objects, and to the handle of a file to write; {op:
// "cancel", id} takes a request back, whether it waits or runs. A reply is {id, result} or {id, error}; an event
// {event, id, …} with its request's id. All but requests are JSON text, except that a reply that carries a file is {id,
// name, bytes}, and one that has written a file {id, name, blob}, blob undefined where it went to the handle.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"runtime/debug"
	"strings"
	"syscall/js"

	"qlora-wgpu/internal/browser"
	"qlora-wgpu/internal/dataset"
	"qlora-wgpu/internal/usererr"
)

// request is what the page wants.
type request struct {
	id    int
	op    string
	args  []byte
	files []file
	to    js.Value        // where the user wants a file; undefined: nowhere in particular
	ctx   context.Context // cancelled when the page takes the request back
}

// file is one that the user picked, or that the page fetched.
type file struct {
	name string
	blob *browser.Blob
}

// download is a reply that the page offers as a file.
type download struct {
	name string
	data []byte
}

// saved is a reply whose file is written: on the disk or, where blob is one, for the page to offer.
type saved struct {
	name string
	blob js.Value
}

func (r request) decode(v any) error {
	if err := json.Unmarshal(r.args, v); err != nil {
		return fmt.Errorf("request %s: %w", r.op, err)
	}
	return nil
}

type operation func(*engine, context.Context, request) (any, error)

// operations that wait for each other, in the order of the page's requests.
var operations = map[string]operation{
	"hello": (*engine).hello, "model": (*engine).openModel, "data": (*engine).openData, "rows": (*engine).rows, "read": (*engine).read,
	"preview": (*engine).preview, "prepare": (*engine).prepare, "train": (*engine).train,
	"chat": (*engine).chat, "measure": (*engine).measure,
	"runs": (*engine).runs, "run": (*engine).openRun, "rename": (*engine).rename, "delete": (*engine).deleteRun, "forget": (*engine).forget,
	"restore": (*engine).restore, "exportable": (*engine).exportable, "export": (*engine).export,
}

// atOnce are operations that do not wait for a running one.
var atOnce = map[string]operation{
	"inspect": (*engine).inspect, "alive": alive, "adapter": (*engine).adapterFile, "checkpoint": (*engine).checkpointFile,
	"mistakes": (*engine).mistakes,
}

// alive answers: the page asks after it has slept.
func alive(*engine, context.Context, request) (any, error) { return true, nil }

// desk takes the page's messages. Messages come between the steps of a goroutine that computes, so it needs no lock.
type desk struct {
	engine *engine
	queue  chan request
	cancel map[int]context.CancelFunc // of requests that wait or run
}

func main() {
	d := &desk{&engine{}, make(chan request, 1024), map[int]context.CancelFunc{}} // more than a page can have asked for
	js.Global().Set("onmessage", js.FuncOf(func(_ js.Value, args []js.Value) any {
		d.take(args[0].Get("data"))
		return nil
	}))
	post(map[string]any{"event": "ready"})
	for r := range d.queue {
		d.reply(r, operations[r.op])
	}
}

func (d *desk) take(message js.Value) {
	r := parse(message)
	if r.op == "cancel" {
		if cancel := d.cancel[r.id]; cancel != nil {
			cancel()
		}
		return
	}
	r.ctx, d.cancel[r.id] = context.WithCancel(context.Background())
	if run := atOnce[r.op]; run != nil {
		go d.reply(r, run)
	} else {
		d.queue <- r
	}
}

func parse(message js.Value) request {
	r := request{id: message.Get("id").Int(), op: message.Get("op").String(), to: message.Get("to")}
	if args := message.Get("args"); args.Truthy() {
		r.args = []byte(args.String())
	}
	if list := message.Get("files"); list.Truthy() {
		for i := range list.Length() {
			r.files = append(r.files, file{list.Index(i).Get("name").String(), browser.NewBlob(list.Index(i))})
		}
	}
	return r
}

// failure is an error as the page shows it.
type failure struct {
	Message   string `json:"message"`
	Hint      string `json:"hint,omitempty"`
	Input     string `json:"input,omitempty"`     // what the mistake is in: usererr.Input
	Cancelled bool   `json:"cancelled,omitempty"` // the page took the request back
	// which column of a data set is the question, the page has to ask
	Ambiguous *ambiguous `json:"ambiguous,omitempty"`
}

// ambiguous is dataset.AmbiguousColumns under the page's names.
type ambiguous struct {
	Columns   []string   `json:"columns"`
	Preview   [][]string `json:"preview"`
	Header    bool       `json:"header"`
	Table     bool       `json:"table"`
	Undecided bool       `json:"undecided"`
}

// reply runs an operation and posts its result. A panic is a bug, and one operation's end.
func (d *desk) reply(r request, run operation) {
	result, err := func() (result any, err error) {
		defer func() {
			if bug := recover(); bug != nil {
				err = fmt.Errorf("internal error: %v\n%s", bug, debug.Stack())
			}
		}()
		if run == nil {
			return nil, fmt.Errorf("there is no operation %q", r.op)
		}
		if err := r.ctx.Err(); err != nil {
			return nil, err
		}
		return run(d.engine, r.ctx, r)
	}()
	d.cancel[r.id]()
	delete(d.cancel, r.id)
	if err != nil {
		post(map[string]any{"id": r.id, "error": describe(err)})
		return
	}
	switch file := result.(type) {
	case download:
		bytes := js.Global().Get("Uint8Array").New(len(file.data))
		js.CopyBytesToJS(bytes, file.data)
		js.Global().Call("postMessage", map[string]any{"id": r.id, "name": file.name, "bytes": bytes})
	case saved:
		js.Global().Call("postMessage", map[string]any{"id": r.id, "name": file.name, "blob": file.blob})
	default:
		post(map[string]any{"id": r.id, "result": result})
	}
}

func describe(err error) failure {
	if errors.Is(err, context.Canceled) {
		return failure{Message: "cancelled", Cancelled: true}
	}
	out := failure{Message: err.Error()}
	var mistake *usererr.Error
	if errors.As(err, &mistake) {
		out = failure{Message: said(mistake), Hint: mistake.Hint, Input: string(mistake.Input)}
	}
	var columns *dataset.AmbiguousColumns
	if errors.As(err, &columns) {
		out.Ambiguous = &ambiguous{columns.Columns, columns.Preview, columns.Header, columns.Table, columns.Undecided}
	}
	return out
}

// said is a mistake without the program's word for what it was doing: the file that the user opened, the place in it
// and the reason.
func said(e *usererr.Error) string {
	var parts []string
	if e.Path != "" { // where it lies in the browser is nobody's concern
		parts = append(parts, path.Base(e.Path))
	}
	if e.Where != "" {
		parts = append(parts, e.Where)
	}
	if e.Kind == usererr.Unsupported {
		parts = append(parts, "not supported")
	}
	return usererr.OneLine(strings.Join(append(parts, e.Err.Error()), ": "))
}

func post(message any) {
	text, err := json.Marshal(message)
	if err != nil {
		panic(err) // messages are made of what JSON can hold
	}
	js.Global().Call("postMessage", string(text))
}
