package paging

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/gpu"
)

const gib = 1 << 30

// card is a fake one: it refuses more than total, and what exceeds own lies on the host, behind a bus of a twentieth
// of its speed.
type card struct {
	own, total, held int64
	most             int64
	written          time.Duration
}

func (c *card) resize(bytes int64) (int64, error) {
	c.held = min(bytes, c.total)
	c.most = max(c.most, c.held)
	return c.held, nil
}

func (c *card) write() (time.Duration, error) {
	const speed = 400 * gib // bytes a second
	fast := min(c.held, c.own)
	took := time.Duration(float64(fast+20*(c.held-fast)) / speed * float64(time.Second))
	c.written += took
	return took, nil
}

func TestProbe(t *testing.T) {
	for _, c := range []struct {
		name       string
		own, total int64
		want       int64
		low, high  int64
		slow       bool
	}{
		{"a run that needs little", 24 * gib, 24 * gib, 3 * gib / 2, 3 * gib / 2, 3 * gib / 2, false},
		{"a large card", 24 * gib, 24 * gib, 20 * gib, 20 * gib, 20 * gib, false},
		{"a card that refuses", 8 * gib, 8 * gib, 20 * gib, 8 * gib, 8 * gib, false},
		{"a driver that spills", 6 * gib, 22 * gib, 20 * gib, 5 * gib, 27 * gib / 4, true},
		{"and refuses later", 3 * gib, 6 * gib, 20 * gib, 5 * gib / 2, 7 * gib / 2, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := &card{own: c.own, total: c.total}
			held, slow, err := probe(m, c.want)
			require.NoError(t, err)
			require.Equal(t, c.slow, slow)
			require.LessOrEqual(t, c.low, held)
			require.LessOrEqual(t, held, c.high)
			require.LessOrEqual(t, m.most, c.want)
			require.Less(t, m.written, 10*time.Second)
		})
	}
}

type broken struct{ card }

func (b *broken) write() (time.Duration, error) { return 0, errors.New("lost") }

func TestProbeOfABrokenDevice(t *testing.T) {
	_, _, err := probe(&broken{card{own: gib, total: gib}}, gib)
	require.EqualError(t, err, "lost")
}

// A device whose allocator refuses is found to hold what it gives, and has it back afterwards.
func TestProbeOfADevice(t *testing.T) {
	dev, err := gpu.Open(context.Background(), gpu.Options{})
	require.NoError(t, err)
	defer dev.Release()
	require.NoError(t, dev.Wait(t.Context())) // makes the rings
	before := dev.Bytes()
	const limit, smallest = 50 << 20, probeFirst >> 8
	dev.LimitMemory(before + limit)
	held, _, err := Probe(t.Context(), dev, gib)
	require.NoError(t, err)
	require.LessOrEqual(t, held, int64(limit))
	require.Greater(t, held, int64(limit-smallest))
	require.Equal(t, before, dev.Bytes())
	held, _, err = Probe(t.Context(), dev, 20<<20)
	require.NoError(t, err)
	require.EqualValues(t, 20<<20, held)
}
