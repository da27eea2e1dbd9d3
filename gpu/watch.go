package gpu

import "time"

// watcher follows the device through what it was given to do.
type watcher struct {
	told    func(cost int64)
	costs   []int64 // of submissions that the device is not known to be done with, in their order
	unasked int64   // of those after which the device has not been asked
	asked   time.Time
}

// askEvery is how often the device is asked at most: in a browser, asking after each submission made a step of the
// embedded model half as long again. A test shortens it.
var askEvery = 500 * time.Millisecond

// Watch has told called with the estimated FLOPs of the submissions that the device is done with, in their order, a few
// times a second, while the host goes on submitting or waits for the device. stop ends it, and tells nothing of what is
// not done by then. One watches at a time.
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
	if w.unasked += cost; time.Since(w.asked) < askEvery {
		return
	}
	w.costs = append(w.costs, w.unasked)
	w.unasked, w.asked = 0, time.Now()
	d.whenDone(func() {
		cost := w.costs[0]
		w.costs = w.costs[1:]
		if d.watcher == w {
			w.told(cost)
		}
	})
}
