package convert

import "sync"

// Rows reads rows [first, first+n) of the merged weights, each value rounded to float32, for whoever loads them as a
// model; tensors are the model's own. It may be called concurrently. What has to be made of a whole matrix is held
// until each of its rows was read. Errors are Tensor.Read's.
func (w *Weights) Rows() func(tensor string, first, n int, dst []float32) error {
	type open struct {
		*Tensor
		left int // rows that were not read
	}
	var mutex sync.Mutex
	tensors := map[string]*open{}
	return func(name string, first, n int, dst []float32) error {
		mutex.Lock()
		t := tensors[name]
		if t == nil {
			t = &open{Tensor: w.Open(name)}
			t.left = t.Rows
			tensors[name] = t
		}
		if t.left -= n; t.left <= 0 {
			delete(tensors, name)
		}
		mutex.Unlock()
		values := make([]float64, len(dst))
		err := t.Read(first, n, values)
		for i, v := range values {
			dst[i] = float32(v)
		}
		return err
	}
}
