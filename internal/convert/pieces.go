package convert

import (
	"context"
	"runtime"

	"golang.org/x/sync/errgroup"
)

// pieceElements is about how many values are made at a time: enough that handing over costs nothing, and little to
// hold.
const pieceElements = 1 << 18

// piece makes a part of a file.
type piece func() ([]byte, error)

// inOrder makes pieces on all cores, and writes each as soon as those before it are written. Few are held at a time: a
// piece is taken out of the list when its turn comes, and with it what it was made of.
func inOrder(ctx context.Context, pieces []piece, write func([]byte) error) error {
	group, ctx := errgroup.WithContext(ctx)
	made := make(chan chan []byte, 2*runtime.GOMAXPROCS(0))
	work := make(chan func() error)
	for range runtime.GOMAXPROCS(0) {
		group.Go(func() error {
			for f := range work {
				if err := f(); err != nil {
					return err
				}
			}
			return nil
		})
	}
	group.Go(func() error {
		defer close(work)
		defer close(made)
		for i, next := range pieces {
			pieces[i] = nil
			to := make(chan []byte, 1)
			f := func() error {
				data, err := next()
				to <- data
				return err
			}
			select {
			case made <- to:
			case <-ctx.Done():
				return ctx.Err()
			}
			select {
			case work <- f:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return nil
	})
	group.Go(func() error {
		for from := range made {
			select {
			case data := <-from:
				if ctx.Err() != nil {
					return ctx.Err()
				}
				if err := write(data); err != nil {
					return err
				}
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return nil
	})
	return group.Wait()
}
