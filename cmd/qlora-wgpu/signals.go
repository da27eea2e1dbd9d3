package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
)

// interrupts is what the user, or who closes the terminal, wants of a command: the first signal asks it to end, the
// second Ctrl-C or SIGTERM to end at once, which a command that says something about that takes over.
type interrupts struct {
	first  context.Context
	second context.Context
	taken  atomic.Bool // the command sees to the second one itself
}

// endings are the signals that ask a process to end. One that runs under nohup is not asked by a closed terminal.
func endings() []os.Signal {
	signals := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) {
		signals = append(signals, syscall.SIGHUP)
	}
	return signals
}

func listen() *interrupts {
	first, ask := context.WithCancel(context.Background())
	second, insist := context.WithCancel(context.Background())
	i := &interrupts{first: first, second: second}
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, endings()...)
	go i.follow(signals, ask, insist)
	return i
}

func (i *interrupts) follow(signals <-chan os.Signal, ask, insist func()) {
	for s := range signals {
		switch {
		case i.first.Err() == nil:
			ask()
		case s == syscall.SIGHUP: // closing a terminal may send it twice, and beside another signal
		case i.taken.Load() && i.second.Err() == nil:
			insist()
		default:
			os.Exit(statusInterrupted)
		}
	}
}

// outliveReaders lets writes to a pipe whose reader is gone fail, where they would end the process: what reads the
// output of a run is closed with the terminal, and the run has a checkpoint to save.
func outliveReaders() { signal.Ignore(syscall.SIGPIPE) }

// followParent makes this process a good child: the parent alone decides what Ctrl-C means.
func followParent(stdin io.Reader) context.Context {
	signal.Notify(make(chan os.Signal, 1), endings()...) // nobody receives: ignored, on Windows too
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		one := make([]byte, 1)
		for {
			n, err := stdin.Read(one)
			if err != nil {
				os.Exit(statusInterrupted)
			}
			if n > 0 {
				cancel()
			}
		}
	}()
	return ctx
}
