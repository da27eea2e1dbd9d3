package tokenizer

import (
	"encoding/binary"
	"errors"
	"sync"
	"unicode/utf8"
)

const (
	maxProgram = 1024
	// An attempt of more steps than this goes on with a memory of what has failed, which bounds the steps of a whole
	// text by its length times the program's; without it a match costs nothing but its steps.
	stepsWithoutMemory = 512
	// The memory of a long text is not kept for the next one.
	keptMemory = 1 << 17
)

type opcode uint8

const (
	opSet    opcode = iota // one character of set
	opRun                  // min to max characters of set, as many as there are; then fewer, unless possessive
	opSplit                // go on at x; where that fails, at y
	opJump                 // go on at x
	opLook                 // the program at pc+1 matches here, or with negative does not; go on at x
	opAnchor               // the place is one of the anchor's
	opMatch
)

type instruction struct {
	op         opcode
	possessive bool
	negative   bool
	x, y       int32
	min, max   int32 // max -1: no end
	set        *runeSet
	anchor     rune
}

// pattern is a compiled regular expression, matched as backtracking engines do: of alternatives the first one that
// leads to a match. Safe for concurrent use.
type pattern struct {
	program []instruction
	starts  []int32      // where each alternative of the whole pattern begins
	byFirst [256][]int32 // those that may match a text that begins with this byte
	pool    sync.Pool    // *matching
}

// compilePattern compiles what [parsePattern] reads, but for what matches the empty text: Oniguruma would split there.
func compilePattern(text string) (*pattern, error) {
	root, err := parsePattern(text)
	if err != nil {
		return nil, err
	}
	if root.mayBeEmpty() {
		return nil, errors.New("it matches the empty text")
	}
	p := &pattern{}
	p.pool.New = func() any { return &matching{p: p} }
	c := &patternCompiler{p: p, sets: map[string]*runeSet{}}
	for _, part := range root.parts {
		start := int32(len(p.program))
		p.starts = append(p.starts, start)
		c.node(part)
		c.emit(instruction{op: opMatch})
		if c.err != nil {
			return nil, c.err
		}
		first := part.first()
		for b := range p.byFirst {
			if first.startsWith(byte(b)) {
				p.byFirst[b] = append(p.byFirst[b], start)
			}
		}
	}
	return p, nil
}

type patternCompiler struct {
	p    *pattern
	sets map[string]*runeSet
	err  error
}

func (c *patternCompiler) emit(i instruction) int32 {
	if len(c.p.program) >= maxProgram {
		if c.err == nil {
			c.err = errors.New("it is too long with its repetitions written out")
		}
		return 0
	}
	c.p.program = append(c.p.program, i)
	return int32(len(c.p.program) - 1)
}

func (c *patternCompiler) here() int32 { return int32(len(c.p.program)) }

func (c *patternCompiler) set(all ranges) *runeSet {
	var key []byte
	for _, pair := range all {
		key = binary.LittleEndian.AppendUint64(key, uint64(pair[0])<<32|uint64(pair[1]))
	}
	if c.sets[string(key)] == nil {
		c.sets[string(key)] = newRuneSet(all)
	}
	return c.sets[string(key)]
}

func (c *patternCompiler) node(n node) {
	if c.err != nil {
		return
	}
	switch n.kind {
	case setNode:
		c.emit(instruction{op: opSet, set: c.set(n.set)})
	case sequenceNode:
		for _, part := range n.parts {
			c.node(part)
		}
	case alternationNode:
		c.alternatives(n.parts)
	case lookNode:
		look := c.emit(instruction{op: opLook, negative: n.negative})
		c.node(n.parts[0])
		c.emit(instruction{op: opMatch})
		c.p.program[look].x = c.here()
	case anchorNode:
		c.emit(instruction{op: opAnchor, anchor: n.anchor})
	case repeatNode:
		if part := n.parts[0]; part.kind == setNode && !n.lazy {
			c.emit(instruction{
				op: opRun, set: c.set(part.set), min: int32(n.min), max: int32(n.max), possessive: n.possessive,
			})
			return
		}
		c.repeat(n)
	}
}

func (c *patternCompiler) alternatives(parts []node) {
	var ends []int32
	for i, part := range parts {
		if i == len(parts)-1 {
			c.node(part)
			break
		}
		split := c.emit(instruction{op: opSplit, x: c.here() + 1})
		c.node(part)
		ends = append(ends, c.emit(instruction{op: opJump}))
		c.p.program[split].y = c.here()
	}
	for _, end := range ends {
		c.p.program[end].x = c.here()
	}
}

// repeat writes a repetition out.
func (c *patternCompiler) repeat(n node) {
	split := func() int32 { return c.emit(instruction{op: opSplit}) }
	// into has the split go to inside, and past it to here.
	into := func(at, inside int32) {
		x, y := inside, c.here()
		if n.lazy {
			x, y = y, x
		}
		c.p.program[at].x, c.p.program[at].y = x, y
	}
	for range n.min {
		c.node(n.parts[0])
	}
	if n.max < 0 {
		loop := split()
		inside := c.here()
		c.node(n.parts[0])
		c.emit(instruction{op: opJump, x: loop})
		if c.err == nil {
			into(loop, inside)
		}
		return
	}
	var splits []int32
	for range n.max - n.min {
		splits = append(splits, split())
		c.node(n.parts[0])
	}
	if c.err == nil {
		for _, at := range splits {
			into(at, at+1)
		}
	}
}

// A choice is where an attempt goes on when it fails: at pc, or with a run that is shorter by a character.
type choice struct {
	pc, pos, shortest int32 // shortest >= 0: the run up to pos may end there at the earliest
	trail             int32
}

// matching is the state of matching one text.
type matching struct {
	p       *pattern
	text    string
	choices []choice
	steps   int
	// With memory, failed has a bit for each instruction and position from which there is no match. What an attempt has
	// passed is on the trail until it has failed; what is there when it succeeds is taken back.
	memory bool
	failed []uint64
	trail  []int
}

// find calls found with each match, in order; matches do not overlap.
func (p *pattern) find(text string, found func(start, end int)) {
	m := p.pool.Get().(*matching)
	defer p.pool.Put(m)
	m.text, m.memory = text, false
	for at := 0; at < len(text); {
		if end := m.match(at); end >= 0 {
			found(at, end)
			at = end
			continue
		}
		_, n := utf8.DecodeRuneInString(text[at:])
		at += n
	}
	if m.text = ""; cap(m.failed) > keptMemory {
		m.failed = nil
	}
}

// match is the end of the match at a position, or noMatch.
func (m *matching) match(at int) int {
	m.steps = 0
	for _, start := range m.p.byFirst[m.text[at]] {
		end := m.attempt(start, at)
		if end == outOfSteps {
			m.remember()
			end = m.attempt(start, at)
		}
		if end >= 0 {
			return end
		}
	}
	return noMatch
}

const (
	noMatch    = -1
	outOfSteps = -2
)

func (m *matching) remember() {
	words := (len(m.p.program)*(len(m.text)+1) + 63) / 64
	if cap(m.failed) < words {
		m.failed = make([]uint64, words)
	}
	m.failed = m.failed[:words]
	clear(m.failed)
	m.memory, m.trail, m.choices = true, m.trail[:0], m.choices[:0]
}

// pass reports whether an attempt may pass an instruction here: not where it has led to nothing before.
func (m *matching) pass(pc, pos int) bool {
	i := pc*(len(m.text)+1) + pos
	if m.failed[i/64]&(1<<(i%64)) != 0 {
		return false
	}
	m.failed[i/64] |= 1 << (i % 64)
	m.trail = append(m.trail, i)
	return true
}

// attempt runs the program from pc at pos and gives where it ends.
func (m *matching) attempt(pc int32, pos int) int {
	baseChoices, baseTrail := len(m.choices), len(m.trail)
	program, text := m.p.program, m.text
	for {
		m.steps++
		if !m.memory && m.steps > stepsWithoutMemory {
			return outOfSteps
		}
		i := &program[pc]
		alive := true
		if m.memory && i.op != opRun {
			alive = m.pass(int(pc), pos)
		}
		if alive {
			switch i.op {
			case opSet:
				n := i.set.next(text, pos)
				alive = n > 0
				pos += n
				pc++
			case opRun:
				if pos = m.run(i, pc, pos); pos < 0 {
					alive = false
				}
				pc++
			case opSplit:
				m.choices = append(m.choices, choice{i.y, int32(pos), -1, int32(len(m.trail))})
				pc = i.x
			case opJump:
				pc = i.x
			case opLook:
				end := m.attempt(pc+1, pos)
				if end == outOfSteps {
					return end
				}
				alive = (end >= 0) != i.negative
				pc = i.x
			case opAnchor:
				alive = anchored(i.anchor, text, pos)
				pc++
			case opMatch:
				m.succeed(baseChoices, baseTrail)
				return pos
			}
		}
		if alive {
			continue
		}
		if len(m.choices) == baseChoices {
			m.trail = m.trail[:baseTrail]
			return noMatch
		}
		pc, pos = m.retry()
	}
}

func anchored(anchor rune, text string, pos int) bool {
	switch anchor {
	case 'A':
		return pos == 0
	case 'z':
		return pos == len(text)
	case '^':
		return pos == 0 || text[pos-1] == '\n'
	case '$':
		return pos == len(text) || text[pos] == '\n'
	}
	before, n := utf8.DecodeLastRuneInString(text[:pos])
	after, m := utf8.DecodeRuneInString(text[pos:])
	return ((n > 0 && wordRanges.contains(before)) != (m > 0 && wordRanges.contains(after))) == (anchor == 'b')
}

// succeed takes back what the attempt passed on its way to the match.
func (m *matching) succeed(choices, trail int) {
	for _, i := range m.trail[trail:] {
		m.failed[i/64] &^= 1 << (i % 64)
	}
	m.choices, m.trail = m.choices[:choices], m.trail[:trail]
}

// run goes over as many characters of a set as may be and gives where it ends, or -1.
func (m *matching) run(i *instruction, pc int32, pos int) int {
	// A run without an end may be remembered at each of its characters: the rest of it is the same run.
	memory := m.memory && i.max < 0 && !i.possessive
	shortest, count := -1, int32(0)
	for {
		if count == i.min {
			shortest = pos
		}
		if memory && count >= i.min && !m.pass(int(pc), pos) {
			// From here on the run has led to nothing; from what was before it may still end.
			if count == i.min {
				return -1
			}
			pos -= lastRune(m.text[:pos])
			break
		}
		if count == i.max {
			break
		}
		n := i.set.next(m.text, pos)
		if n == 0 {
			break
		}
		pos += n
		count++
	}
	if shortest < 0 {
		return -1
	}
	if pos > shortest && !i.possessive {
		m.choices = append(m.choices, choice{pc + 1, int32(pos), int32(shortest), int32(len(m.trail))})
	}
	return pos
}

// retry goes back to the last choice.
func (m *matching) retry() (pc int32, pos int) {
	m.steps++
	last := &m.choices[len(m.choices)-1]
	m.trail = m.trail[:last.trail]
	if last.shortest >= 0 {
		last.pos -= int32(lastRune(m.text[:last.pos]))
	}
	pc, pos = last.pc, int(last.pos)
	if last.pos <= last.shortest || last.shortest < 0 {
		m.choices = m.choices[:len(m.choices)-1]
	}
	return pc, pos
}

func lastRune(text string) int {
	_, n := utf8.DecodeLastRuneInString(text)
	return n
}
