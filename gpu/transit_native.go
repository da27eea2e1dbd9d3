//go:build !js

package gpu

import "github.com/cogentcore/webgpu/wgpu"

// mapping is a transit's memory while it belongs to the host.
type mapping []byte

func (d *Device) mapTransit(b *Buffer, out bool) (mapping, error) {
	mode := wgpu.MapModeWrite
	if out {
		mode = wgpu.MapModeRead
	}
	if err := d.mapWait(b, mode, b.Size); err != nil {
		return nil, err
	}
	return b.native.GetMappedRange(0, uint(b.Size)), nil
}

func (m mapping) write(at int64, data []byte) { copy(m[at:], data) }

func (m mapping) read(dst []byte) { copy(dst, m) }

func (m mapping) unmap(b *Buffer) error { return b.native.Unmap() }
