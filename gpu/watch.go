package gpu

// watcher follows the device through what it was given to do.
type watcher struct {
	told  func(cost int64)
	costs []int64 // of submissions that the device is not known to be done with, in their order
}

// Watch has told called with the estimated FLOPs of each submission that the device is done with, in their order, while
// the host goes on submitting or waits for the device. stop ends it, and tells nothing of what is not done by then. One
// watches at a time.
func (d *Device) Watch(told func(cost int64)) (stop func()) {
	w := &watcher{told: told}
	d.watcher = w
	return func() {
		if d.watcher == w {
			d.watcher = nil
		}
	}
}

// submitted notes a submission for who watches.
func (d *Device) submitted(cost int64) {
	if d.watcher == nil {
		return
	}
	w := d.watcher
	w.costs = append(w.costs, cost)
	d.whenDone(func() {
		cost := w.costs[0]
		w.costs = w.costs[1:]
		if d.watcher == w {
			w.told(cost)
		}
	})
}
