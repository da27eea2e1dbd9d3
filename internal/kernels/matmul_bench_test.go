//go:build unix

package kernels

import (
	"context"
	"fmt"
	"os"
	"syscall"
	"testing"
	"time"

	testify "github.com/stretchr/testify/require"

	"qlora-wgpu/gpu"
)

// cpuTime is what this process used of the CPU: on a software device it says more than the clock of a loaded machine.
func cpuTime() time.Duration {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		panic(err)
	}
	return time.Duration(r.Utime.Nano())
}

// BenchmarkMatmul reports GFLOP/s of every variant at the 135M model's shapes, by the clock and per two seconds of CPU time (so of two cores).
func BenchmarkMatmul(b *testing.B) {
	dev, err := gpu.Open(context.Background(), gpu.Options{Adapter: os.Getenv("QLORA_DEVICE")})
	testify.NoError(b, err)
	defer dev.Release()
	for _, op := range []string{"matmul_nf4_forward", "matmul_nf4_backward", "matmul_forward", "matmul_backward"} {
		for _, s := range [][3]int{{80, 1536, 576}, {128, 576, 1536}, {128, 192, 576}, {64, 49152, 576}} {
			if (s[1] == 49152) != (op == "matmul_forward" || op == "matmul_backward") {
				continue
			}
			record, release, err := newMatmulBench(dev, op, s[0], s[1], s[2])
			testify.NoError(b, err)
			for _, v := range Variants(op) {
				b.Run(fmt.Sprintf("%s/T%d_N%d_K%d/%s", op, s[0], s[1], s[2], v), func(b *testing.B) {
					dev.Variants.Force(op, v)
					defer dev.Variants.Force(op, "")
					run := func(n int) {
						rec := dev.Record("bench")
						for range n {
							record(rec)
						}
						testify.NoError(b, rec.Submit())
						testify.NoError(b, dev.Wait(context.Background()))
					}
					run(1) // compiles
					used := cpuTime()
					b.ResetTimer()
					run(b.N)
					b.ReportMetric(2*float64(b.N)*2*float64(s[0]*s[1]*s[2])/(cpuTime()-used).Seconds()/1e9, "GFLOP/s-cpu")
					b.ReportMetric(float64(b.N)*2*float64(s[0]*s[1]*s[2])/b.Elapsed().Seconds()/1e9, "GFLOP/s")
					b.ReportMetric(0, "ns/op")
				})
			}
			release()
		}
	}
}
