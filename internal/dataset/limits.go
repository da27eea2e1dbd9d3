package dataset

import "io"

// rowLimiter passes bytes on up to an offset that the consumer moves from row to row, because the decoders behind it
// would hold a row of any length.
type rowLimiter struct {
	in    io.Reader
	read  int64 // bytes passed on
	limit int64 // bytes that may be passed on
}

func (l *rowLimiter) Read(p []byte) (int, error) {
	if l.read >= l.limit {
		return 0, errRowTooLong
	}
	n, err := l.in.Read(p[:min(int64(len(p)), l.limit-l.read)])
	l.read += int64(n)
	return n, err
}

// lineReader is a rowLimiter that knows on which line an offset lies.
type lineReader struct {
	rowLimiter
	newlines []int64 // offsets of newlines that lineAt has not passed yet
	passed   int     // newlines that it has
}

func (l *lineReader) Read(p []byte) (int, error) {
	start := l.read
	n, err := l.rowLimiter.Read(p)
	for i, c := range p[:n] {
		if c == '\n' {
			l.newlines = append(l.newlines, start+int64(i))
		}
	}
	return n, err
}

// lineAt counts lines from 1; offsets must not decrease from call to call.
func (l *lineReader) lineAt(offset int64) int {
	k := 0
	for k < len(l.newlines) && l.newlines[k] < offset {
		k++
	}
	l.newlines = l.newlines[k:]
	l.passed += k
	return l.passed + 1
}
