package gpu

import (
	"cmp"
	"fmt"
	"slices"
	"sort"
)

// Arena is the memory of everything that lives for less than a step. Its layout comes from a dry recording of each
// program (a training micro-batch, an evaluation batch, a decoding step) at its largest size: the n-th tensor a program
// asks for always gets the n-th slot, so bind groups stay valid from step to step, a smaller batch always fits, and
// nothing is allocated while training.
type Arena struct {
	dev      *Device
	programs map[string]*program
	running  *program
	planning bool
	next     int // slot of the next tensor
	clock    int
	buffers  []*Buffer
}

type program struct {
	name  string
	slots []slot
	alive map[*Tensor]int // while planning: the slots that were not freed
	sizes []int64         // of the buffers it needs
}

type slot struct {
	name        string
	size        int64
	born, freed int // clock; freed 0 means at the end
	buffer      int
	offset      int64
	tensor      *Tensor
}

// NewArena makes an empty arena.
func (d *Device) NewArena() *Arena { return &Arena{dev: d, programs: map[string]*program{}} }

// Plan runs record against a dry recorder, lays its tensors out and returns that recorder, whose Kernels are what the
// program will dispatch. Plan every program, then Reserve. It panics with a *TooLarge where one tensor exceeds what can
// be bound.
func (a *Arena) Plan(name string, record func(rec *Recorder)) *Recorder {
	if a.running != nil {
		panic("gpu: arena is already running " + a.running.name)
	}
	p := &program{name: name, alive: map[*Tensor]int{}}
	a.running, a.planning, a.next, a.clock = p, true, 0, 0
	rec := a.dev.DryRecord(name)
	record(rec)
	a.running, a.planning = nil, false
	for _, i := range p.alive {
		p.slots[i].freed = a.clock + 1
	}
	p.alive = nil
	p.layOut(a.dev.Limits.MaxTensorBytes())
	a.programs[name] = p
	return rec
}

// manySlots is where trying all pairs of slots would take seconds.
const manySlots = 4096

// layOut gives every slot a place where no slot alive at the same time lies. Large slots are placed first, which leaves
// the fewest gaps; where there are very many, they are placed in the order in which they are born, each beside the few
// that are alive then.
func (p *program) layOut(maxBuffer int64) {
	order := make([]int, len(p.slots))
	for i := range order {
		order[i] = i
	}
	inTime := len(order) > manySlots
	if !inTime {
		sort.SliceStable(order, func(i, j int) bool { return p.slots[order[i]].size > p.slots[order[j]].size })
	}
	var placed []*slot
	for _, i := range order {
		s := &p.slots[i]
		if inTime {
			placed = slices.DeleteFunc(placed, func(o *slot) bool { return o.freed <= s.born })
		}
		for buffer := 0; ; buffer++ {
			if buffer == len(p.sizes) {
				p.sizes = append(p.sizes, 0)
			}
			if offset, ok := lowestFit(placed, s, buffer, maxBuffer); ok {
				s.buffer, s.offset = buffer, offset
				p.sizes[buffer] = max(p.sizes[buffer], offset+s.size)
				break
			}
		}
		placed = append(placed, s)
	}
}

func lowestFit(placed []*slot, s *slot, buffer int, maxBuffer int64) (int64, bool) {
	type span struct{ from, to int64 }
	var taken []span
	for _, o := range placed {
		if o.buffer == buffer && o.born < s.freed && s.born < o.freed {
			taken = append(taken, span{o.offset, o.offset + o.size})
		}
	}
	slices.SortFunc(taken, func(a, b span) int { return cmp.Compare(a.from, b.from) })
	var at int64
	for _, t := range taken {
		if at+s.size <= t.from {
			break
		}
		at = max(at, t.to)
	}
	return at, at+s.size <= max(maxBuffer, s.size) && (at == 0 || at+s.size <= maxBuffer)
}

// Bytes is what Reserve will hold, in bytes: the programs share the same memory.
func (a *Arena) Bytes() (total int64) {
	for _, size := range a.BufferSizes() {
		total += size
	}
	return total
}

// BufferSizes are the bytes of the buffers that Reserve makes.
func (a *Arena) BufferSizes() (sizes []int64) {
	for _, p := range a.programs {
		for i, size := range p.sizes {
			if i == len(sizes) {
				sizes = append(sizes, 0)
			}
			sizes[i] = max(sizes[i], size)
		}
	}
	return sizes
}

// Reserve makes the buffers that the planned programs need, and keeps those that are large enough. What does not fit is
// an *OutOfMemory.
func (a *Arena) Reserve() error {
	for i, size := range a.BufferSizes() {
		if i == len(a.buffers) {
			a.buffers = append(a.buffers, nil)
		}
		if b := a.buffers[i]; b != nil && b.Size >= size {
			continue
		}
		a.buffers[i].Release()
		b, err := a.dev.NewBuffer(fmt.Sprintf("arena %d", i), size)
		if err != nil {
			a.buffers[i] = nil
			return err
		}
		a.buffers[i] = b
	}
	return nil
}

// Release gives the arena's memory back; its programs stay planned.
func (a *Arena) Release() {
	for _, b := range a.buffers {
		b.Release()
	}
	a.buffers = nil
}

// Begin starts a planned program; the tensors of the one before are gone. A program that was not planned is a bug and
// panics.
func (a *Arena) Begin(name string) {
	p := a.programs[name]
	if p == nil {
		panic("gpu: arena has no program " + name)
	}
	a.running, a.next = p, 0
}

// End ends the running program.
func (a *Arena) End() { a.running = nil }

// New is the next tensor of the running program: uninitialised memory, rows×cols elements, in one shard. A name or size
// that the plan does not hold at this place is a bug and panics.
func (a *Arena) New(name string, dtype DType, rows, cols int) *Tensor {
	size := alignUp(max(dtype.Size(rows*cols), 4), alignment)
	p := a.running
	if p == nil {
		panic("gpu: no program is running, for tensor " + name)
	}
	t := &Tensor{Name: name, DType: dtype, Rows: rows, Cols: cols}
	if a.planning {
		if size > a.dev.Limits.MaxTensorBytes() {
			panic(&TooLarge{Name: name, Bytes: size, Limit: a.dev.Limits.MaxTensorBytes()})
		}
		a.clock++
		p.alive[t] = len(p.slots)
		p.slots = append(p.slots, slot{name: name, size: size, born: a.clock, tensor: t})
		// A buffer of its own stands for the slot while nothing has an address.
		t.Shards = []Shard{{Range{&Buffer{Label: name, Size: size, dev: a.dev}, 0, size}, 0, rows}}
		return t
	}
	if a.next >= len(p.slots) || p.slots[a.next].name != name || size > p.slots[a.next].size {
		panic(fmt.Sprintf("gpu: program %s asks for %s of %d bytes as tensor %d, which its plan does not hold", p.name, name, size, a.next))
	}
	s := p.slots[a.next]
	a.next++
	// The whole slot is bound, so that the bind group serves every batch size.
	t.Shards = []Shard{{Range{a.buffers[s.buffer], s.offset, s.size}, 0, rows}}
	return t
}

// Free ends the life of tensors of the running program; their memory may be the next tensor's.
func (a *Arena) Free(tensors ...*Tensor) {
	if !a.planning {
		return
	}
	for _, t := range tensors {
		i, alive := a.running.alive[t]
		if !alive {
			panic("gpu: freed tensor " + t.Name + " is not of this program")
		}
		delete(a.running.alive, t)
		a.clock++
		a.running.slots[i].freed = a.clock
	}
}

// TooLarge is the panic value of Plan when one tensor exceeds what can be bound: the batch has too many tokens. Bytes
// and Limit are bytes.
type TooLarge struct {
	Name         string
	Bytes, Limit int64
}

func (e *TooLarge) Error() string {
	return fmt.Sprintf("%s needs %.1f MiB in one binding, the device binds at most %.1f MiB",
		e.Name, float64(e.Bytes)/(1<<20), float64(e.Limit)/(1<<20))
}
