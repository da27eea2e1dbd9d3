package events

import (
	"fmt"
	"sync"
	"time"
)

// Progress is an event that says how far something is that takes its time. The next one of its kind replaces it: Done
// grows to Total, and is smaller again where the kind begins anew.
type Progress interface {
	Event
	Progress() (done, total int64)
}

// Part is how much is done of all.
type Part struct {
	Done  int64 `json:"done"`
	Total int64 `json:"total"`
}

// Progress implements the interface of that name.
func (p Part) Progress() (done, total int64) { return p.Done, p.Total }

// percent is Done in hundredths of Total.
func (p Part) percent() int64 { return int64(100 * float64(p.Done) / float64(max(p.Total, 1))) }

// Fetching is how many bytes of a repository of the hub are here, and how many come in a second.
type Fetching struct {
	Part
	Name string  `json:"name"`
	Rate float64 `json:"rate"`
}

// Reading is how many bytes of a data set's file are read, and how many in a second.
type Reading struct {
	Part
	Name string  `json:"name"`
	Rate float64 `json:"rate"`
}

// Encoding is how many rows of a data set are in tokens, and, of many, how many come in a second.
type Encoding struct {
	Part
	Rate float64 `json:"rate,omitempty"`
}

// Checking is how many operations have been compared with the CPU.
type Checking struct{ Part }

// Compiling is how many of the shaders that are needed next are compiled.
type Compiling struct{ Part }

// Tuning is how many candidates the autotune has measured. What it has no time for counts as done at its end.
type Tuning struct{ Part }

// Load is how many sections of the model are in their places, and how many of their bytes. All are 0 where loading
// begins.
type Load struct {
	Part
	Bytes      int64 `json:"bytes"`
	TotalBytes int64 `json:"total_bytes"`
}

// Estimating is how many parts of a run have been tried to tell how long it will take.
type Estimating struct{ Part }

// Stepping is how far the step under way is, in estimated FLOPs that the device has done.
type Stepping struct {
	Part
	Step int `json:"step"`
}

// Evaluating is how many rows have been evaluated.
type Evaluating struct{ Part }

// Answering is how many of the run's prompts are answered after a step, and what there is of the next answer.
type Answering struct {
	Part
	Step   int    `json:"step"`
	Prompt string `json:"prompt"`
	Text   string `json:"text"` // so far
}

// Saving is how far the writing of a step's checkpoint or adapter is, in bytes.
type Saving struct {
	Part
	Step int `json:"step"`
}

// Writing is how many bytes of a model are written.
type Writing struct{ Part }

func (Fetching) Kind() string   { return "fetching" }
func (Reading) Kind() string    { return "reading" }
func (Encoding) Kind() string   { return "encoding" }
func (Checking) Kind() string   { return "checking" }
func (Compiling) Kind() string  { return "compiling" }
func (Tuning) Kind() string     { return "tuning" }
func (Load) Kind() string       { return "load" }
func (Estimating) Kind() string { return "estimating" }
func (Stepping) Kind() string   { return "stepping" }
func (Evaluating) Kind() string { return "evaluating" }
func (Answering) Kind() string  { return "answering" }
func (Saving) Kind() string     { return "saving" }
func (Writing) Kind() string    { return "writing" }

func (e Fetching) String() string {
	return fmt.Sprintf("Fetching %s: ", e.Name) + megabytes(e.Part, e.Rate)
}

func (e Reading) String() string {
	return fmt.Sprintf("Reading %s: ", e.Name) + megabytes(e.Part, e.Rate)
}

func megabytes(p Part, rate float64) string {
	text := fmt.Sprintf("%.1f of %.1f MB", float64(p.Done)/1e6, float64(p.Total)/1e6)
	if rate < 1 || p.Done == p.Total {
		return text
	}
	return fmt.Sprintf("%s, %.1f MB/s, %v left", text, rate/1e6, p.left(rate))
}

// left is how long the rest takes at a rate.
func (p Part) left(rate float64) time.Duration {
	return time.Duration(float64(p.Total-p.Done) / rate * float64(time.Second)).Round(time.Second)
}

func (e Encoding) String() string {
	text := fmt.Sprintf("Turning rows into tokens: %d of %d", e.Done, e.Total)
	if e.Rate < 1 || e.Done == e.Total {
		return text
	}
	return fmt.Sprintf("%s, %.0f rows/s, %v left", text, e.Rate, e.left(e.Rate))
}

func (e Checking) String() string {
	return fmt.Sprintf("Checking the kernels: %d of %d", e.Done, e.Total)
}

func (e Compiling) String() string {
	return fmt.Sprintf("Compiling shaders: %d of %d", e.Done, e.Total)
}

func (e Tuning) String() string {
	return fmt.Sprintf("Measuring kernels: %d of %d", e.Done, e.Total)
}

func (e Load) String() string {
	if e.TotalBytes == 0 {
		return "Loading the model"
	}
	return fmt.Sprintf("Loading the model: %d %%", Part{e.Bytes, e.TotalBytes}.percent())
}

func (e Estimating) String() string {
	return fmt.Sprintf("Estimating the time: %d of %d", e.Done, e.Total)
}

func (e Stepping) String() string { return fmt.Sprintf("Step %d: %d %%", e.Step, e.percent()) }

func (e Evaluating) String() string { return fmt.Sprintf("Evaluating: row %d of %d", e.Done, e.Total) }

func (e Answering) String() string {
	return fmt.Sprintf("Answering: %d of %d", min(e.Done+1, e.Total), e.Total)
}

func (e Saving) String() string { return fmt.Sprintf("Saving step %d: %d %%", e.Step, e.percent()) }

func (e Writing) String() string {
	return fmt.Sprintf("Writing the model: %.1f of %.1f MB", float64(e.Done)/1e6, float64(e.Total)/1e6)
}

// Meter tells of work in parts, from any goroutine, and no more often than somebody can read. What is over before the
// first time is not told at all.
type Meter struct {
	tell func(Part)

	mu   sync.Mutex
	now  Part
	said int64     // of now.Done; -1: nothing was told
	last time.Time // that it was
}

// between is the time from one telling to the next.
const between = 100 * time.Millisecond

// NewMeter begins work of so many parts.
func NewMeter(total int64, tell func(Part)) *Meter {
	return &Meter{tell: tell, now: Part{Total: total}, said: -1, last: time.Now()}
}

// Begin tells of the work whose end is worth waiting for, however soon it comes.
func (m *Meter) Begin() *Meter {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.say()
	return m
}

// Add counts parts that are done; those beyond the total are none.
func (m *Meter) Add(parts int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.now.Done = min(m.now.Done+parts, m.now.Total)
	if time.Since(m.last) >= between {
		m.say()
	}
}

// End counts the rest, which may have been estimated, and tells so where anything was told.
func (m *Meter) End() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.now.Done = m.now.Total; m.said >= 0 && m.said < m.now.Total {
		m.say()
	}
}

func (m *Meter) say() {
	m.last, m.said = time.Now(), m.now.Done
	m.tell(m.now)
}
