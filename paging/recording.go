package paging

import "slices"

// Recording is what a dry recording of a training step tells about memory, in bytes of the device unless it says
// otherwise. A plan follows from it and a budget.
type Recording struct {
	Pages          []PageShape // of the layers, then of the head
	Schedule       *Schedule   // of one micro-batch
	Together       int         // pages that one kernel needs at once
	SlotBytes      int64       // the largest page
	TablePageBytes int64       // limit of a page of the head

	Embedding int64 // of an embedding of its own; 0 where the head's table is used for it
	Tied      bool  // the head's table is the embedding
	Gather    int64 // that the host uploads for a micro-batch when it gathers the embedding's rows

	MicroBatches int     // in a step
	Adapter      int64   // parameters and gradients
	Moments      int64   // optimizer state
	StateTensors []int64 // of it for 256 parameters, each moment
	Mappable     bool    // the device's slots can be mapped (gpu.Device.Mappable)
	TensorLimit  int64   // of a tensor and of a buffer of the arena
	Fixed        []Row   // what is there in every plan
	Arenas       []ArenaShape
}

// PageShape is one page of frozen weights.
type PageShape struct {
	Name  string
	Layer int // -1: of the head
	Bytes int64
}

// ArenaShape is the arena with the activations treated in one way. Its buffers are those of training, evaluation and
// all other programs.
type ArenaShape struct {
	Activations Activations
	Buffers     []int64
	Host        int64 // bytes on the host
	Moved       int64 // bytes that a micro-batch moves
}

// Row is a line of a plan's table.
type Row struct {
	Name    string `json:"name"`
	Where   string `json:"where"`
	Device  int64  `json:"device_bytes"`
	Host    int64  `json:"host_bytes"`
	Traffic int64  `json:"bytes_moved_per_step"`
}

func (r *Recording) layers() (n int) {
	for _, p := range r.Pages {
		n = max(n, p.Layer+1)
	}
	return n
}

func (r *Recording) headPages() (n int) {
	for _, p := range r.Pages {
		if p.Layer < 0 {
			n++
		}
	}
	return n
}

// recorded tells whether there is an arena for it: where nothing goes backwards, there is but one.
func (r *Recording) recorded(a Activations) bool {
	return slices.ContainsFunc(r.Arenas, func(shape ArenaShape) bool { return shape.Activations == a })
}

func (r *Recording) arena(a Activations) ArenaShape {
	for _, shape := range r.Arenas {
		if shape.Activations == a {
			return shape
		}
	}
	panic("paging: no recording with " + a.String())
}

func total(sizes []int64) (sum int64) {
	for _, s := range sizes {
		sum += s
	}
	return sum
}

func align(n int64) int64 { return (n + 255) / 256 * 256 }
