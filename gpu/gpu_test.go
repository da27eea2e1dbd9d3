package gpu

import (
	"context"
	"errors"
	"os"
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

const scaleSource = `
// y = a * x + group_base marker: each workgroup owns 4 elements.
struct Params { group_base: u32, group_end: u32, count: u32, a: f32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;
const UNROLL: u32 = 1u;
@compute @workgroup_size(4)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(num_workgroups) num: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let group = params.group_base + wg.x + num.x * (wg.y + num.y * wg.z);
  if (group >= params.group_end) { return; }
  let i = group * 4u + lane;
  if (i < params.count) {
    // unroll k UNROLL {
    y[i] += params.a * x[i] + f32(0u /*k*/);
    // }
  }
}`

type scaleParams struct {
	Count uint32
	A     float32
}

func scaleSpec(unroll uint32) KernelSpec {
	return KernelSpec{Name: "scale", Source: scaleSource, Constants: map[string]uint32{"UNROLL": unroll}, Bindings: []Access{Write, Write}}
}

func open(t testing.TB, limits Limits) *Device {
	d, err := Open(context.Background(), Options{Adapter: os.Getenv("QLORA_DEVICE"), Limits: limits})
	require.NoError(t, err)
	t.Cleanup(d.Release)
	return d
}

// Cutting, folding and flushing must not change a byte: `+=` shows a workgroup that ran twice or not at all.
func TestDispatchIsCutAndFolded(t *testing.T) {
	for name, limits := range map[string]Limits{
		"default":         {},
		"small grid":      {MaxWorkgroupsPerDimension: 3},
		"short dispatch":  {MaxDispatchCost: 100},
		"flush every one": {MaxDispatchesPerSubmit: 1, MaxWorkgroupsPerDimension: 2},
	} {
		t.Run(name, func(t *testing.T) {
			d := open(t, limits)
			const n = 1001
			x, err := d.NewTensor("x", F32, 1, n)
			require.NoError(t, err)
			y, err := d.NewTensor("y", F32, 1, n)
			require.NoError(t, err)
			data := make([]float32, n)
			for i := range data {
				data[i] = float32(i)
			}
			rec := d.Record("test")
			rec.Upload(x.Single(), Float32Bytes(data))
			for range 2 {
				rec.Dispatch(scaleSpec(2), (n+3)/4, 2000, scaleParams{n, 3}, x.Single(), y.Single())
			}
			require.NoError(t, rec.Submit())
			got, err := d.ReadFloat32(context.Background(), y)
			require.NoError(t, err)
			for i, v := range got {
				require.Equal(t, float32(2*(2*3*i+1)), v, "element %d", i)
			}
		})
	}
}

func TestUploadsKeepTheirOrder(t *testing.T) {
	d := open(t, Limits{})
	x, _ := d.NewTensor("x", F32, 1, 4)
	y, _ := d.NewTensor("y", F32, 1, 4)
	rec := d.Record("test")
	for i := 1; i <= 3; i++ { // the same range again and again within one submission
		rec.Upload(x.Single(), Float32Bytes([]float32{float32(i), 0, 0, 0}))
		rec.Dispatch(scaleSpec(1), 1, 0, scaleParams{4, 1}, x.Single(), y.Single())
	}
	require.NoError(t, rec.Submit())
	got, err := d.ReadFloat32(context.Background(), y)
	require.NoError(t, err)
	require.Equal(t, []float32{6, 0, 0, 0}, got)
}

// The binding's MapAsync lost its user data to a garbage collection between map and poll; ours may not.
func TestReadSurvivesGarbageCollection(t *testing.T) {
	d := open(t, Limits{})
	x, _ := d.NewTensor("x", F32, 1, 4)
	require.NoError(t, x.WriteFloat32([]float32{1, 2, 3, 4}))
	var stop atomic.Bool
	done := make(chan struct{})
	go func() {
		defer close(done)
		var keep []*int
		for !stop.Load() {
			for i := range 1000 {
				keep = append(keep, &i)
			}
			keep = keep[:0]
			runtime.GC()
		}
	}()
	for round := range 3000 {
		got, err := d.ReadFloat32(context.Background(), x)
		require.NoError(t, err)
		require.Equal(t, []float32{1, 2, 3, 4}, got, "round %d", round)
	}
	stop.Store(true)
	<-done
}

// What the host fills and collects is in order with the dispatches around it, whether they were submitted or not, and
// no garbage collection matters.
func TestMappableBuffers(t *testing.T) {
	d := open(t, Limits{})
	if !d.Info.SharesHostMemory() {
		require.False(t, d.Mappable, "the host would reach its memory through the bus")
		return
	}
	require.True(t, d.Mappable)
	const n, rounds = 20_000, 40
	var slots [2]*Tensor
	for i := range slots {
		b, err := d.NewMappableBuffer("slot", 4*n)
		require.NoError(t, err)
		defer b.Release()
		slots[i] = &Tensor{Name: "slot", DType: F32, Rows: 1, Cols: n, Shards: []Shard{{Range: b.All(), Rows: 1}}}
	}
	sum, err := d.NewTensor("sum", F32, 1, n)
	require.NoError(t, err)
	add := func(rec *Recorder, y, x *Tensor) {
		rec.Dispatch(scaleSpec(1), n/4, n, scaleParams{n, 1}, x.Single(), y.Single())
	}
	rec := d.Record("fill")
	want, total := make([]float32, n), make([]float32, n)
	for round := range rounds {
		slot := slots[round%2]
		for i := range want {
			want[i] = float32(i%100 + round)
			total[i] += want[i]
		}
		rec.Fill(slot.Single().Buffer, Float32Bytes(want))
		runtime.GC()
		add(rec, sum, slot)
		if round%5 == 0 {
			add(rec, slot, sum)
			got := make([]byte, 4*n)
			rec.Collect(slot.Single().Buffer, got)
			for i := range want {
				want[i] += total[i]
			}
			require.Equal(t, Float32Bytes(want), got, "round %d", round)
		}
	}
	require.NoError(t, rec.Submit())
	got, err := d.ReadFloat32(t.Context(), sum)
	require.NoError(t, err)
	require.Equal(t, total, got)
}

func TestErrorsNameTheKernel(t *testing.T) {
	d := open(t, Limits{})
	x, _ := d.NewTensor("x", F32, 1, 4)
	y, _ := d.NewTensor("y", F32, 1, 4)
	spec := scaleSpec(1)
	spec.Name, spec.Source = "broken", "const UNROLL: u32 = 1u;\nfn main( {"
	rec := d.Record("step 3")
	rec.Dispatch(spec, 1, 0, scaleParams{4, 1}, x.Single(), y.Single())
	rec.Dispatch(scaleSpec(1), 1, 0, scaleParams{4, 1}, x.Single(), y.Single())
	require.ErrorContains(t, rec.Submit(), "step 3: broken: kernel broken")

	require.PanicsWithValue(t, `gpu: scale: bindings 1 and 2 overlap in x`, func() {
		d.Record("r").Dispatch(scaleSpec(1), 1, 0, scaleParams{4, 1}, x.Single(), x.Single())
	})
}

func TestSpecialize(t *testing.T) {
	source := "const A: u32 = 1u;\nconst B: u32 = 1u;\n// unroll i A {\nlet x_i0 = 0u /*i*/;\n  // unroll j B {\n  acc_i0_j0 += x_i0 * " +
		"y_j0;\n  // }\n// }"
	got := Specialize("t", source, map[string]uint32{"A": 2, "B": 11})
	require.Contains(t, got, "let x_i1 = 1u /*i*/;")
	require.Contains(t, got, "acc_i1_j10 += x_i1 * y_j10;")
	require.NotContains(t, got, "unroll")
	require.PanicsWithValue(t, "gpu: t declares no `const C: u32`", func() { Specialize("t", source, map[string]uint32{"C": 2}) })
	require.Panics(t, func() { Specialize("t", "// unroll i A {", nil) })
}

func TestArenaReusesMemory(t *testing.T) {
	d := open(t, Limits{})
	a := d.NewArena()
	program := func(rows int) (x, y, z *Tensor) {
		x = a.New("x", F32, rows, 64)
		y = a.New("y", F32, rows, 64)
		a.Free(x)
		z = a.New("z", F32, rows, 64) // takes the place of x
		return x, y, z
	}
	a.Plan("p", func(*Recorder) { program(10) })
	require.NoError(t, a.Reserve())
	require.EqualValues(t, 2*10*64*4, a.Bytes())
	a.Begin("p")
	x, y, z := program(7)
	a.End()
	require.Equal(t, x.Single(), z.Single())
	require.NotEqual(t, x.Single(), y.Single())
	a.Begin("p")
	require.Panics(t, func() { program(11) })
}

// A device that hangs is left alone, since its driver may wait forever.
func TestAbandon(t *testing.T) {
	d := open(t, Limits{})
	x, err := d.NewTensor("x", F32, 1, 4)
	require.NoError(t, err)
	reason := errors.New("it hangs")
	d.Abandon(reason)
	require.Equal(t, reason, d.Lost())
	x.Release()
	d.Release()
	require.NotNil(t, d.native)
	d.abandoned = false // it does not
	require.NoError(t, d.Wait(context.Background()))
}

// A shard is shorter than what can be bound: a tensor between the two is cut, or in one binding where it has to be.
func TestATensorThatIsNotCut(t *testing.T) {
	dev := NewDryDiscrete()
	const cols = 1024
	rows := func(bytes int) int { return bytes / 4 / cols }
	cut, err := dev.NewTensor("x", F32, rows(bindingBytes), cols)
	require.NoError(t, err)
	require.Len(t, cut.Shards, 2)
	whole, err := dev.NewWholeTensor("x", F32, rows(bindingBytes), cols)
	require.NoError(t, err)
	require.Equal(t, whole.Bytes(), whole.Single().Size)
	_, err = dev.NewWholeTensor("x", F32, rows(bindingBytes)+1, cols)
	require.ErrorAs(t, err, new(*TooLarge))
	require.Equal(t, cut.Bytes()+whole.Bytes(), dev.Bytes())
}
