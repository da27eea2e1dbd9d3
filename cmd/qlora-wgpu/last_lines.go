package main

import (
	"bytes"
	"regexp"
)

const (
	keptLines = 30
	dumpLines = 6
	lineBytes = 500
)

// crashDump is how Go's runtime begins its report on a crash: hundreds of lines of stacks and registers, of which only
// the head is worth repeating.
var crashDump = regexp.MustCompile(`^(SIG[A-Z]+: |fatal error: |panic: |runtime: |unexpected fault address )`)

// lastLines keeps the last lines written to it, up to the head of a crash dump. A carriage return starts a line over,
// as progress bars do.
type lastLines struct {
	kept     []string
	line     []byte
	returned bool // a carriage return came last
	inDump   int  // lines kept of the dump
}

func (l *lastLines) Write(p []byte) (int, error) {
	for _, c := range p {
		if l.returned && c != '\n' {
			l.line = l.line[:0]
		}
		l.returned = c == '\r'
		switch {
		case c == '\n':
			l.end()
		case len(l.line) < lineBytes:
			l.line = append(l.line, c)
		}
	}
	return len(p), nil
}

func (l *lastLines) end() {
	line := string(bytes.TrimSpace(l.line))
	l.line = l.line[:0]
	if l.inDump > 0 || crashDump.MatchString(line) {
		l.inDump++
	}
	if line == "" || l.inDump > dumpLines {
		return
	}
	l.kept = append(l.kept, line)
	if len(l.kept) > keptLines {
		l.kept = l.kept[1:]
	}
}

func (l *lastLines) lines() []string {
	l.end()
	return l.kept
}
