// Package check compares the kernels on a device with the float64 reference.
package check

import (
	"context"
	"fmt"
	"time"

	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/engine"
	"qlora-wgpu/internal/opcases"
	"qlora-wgpu/internal/settings"
	"qlora-wgpu/internal/usererr"
)

// Device compares every kernel, every variant, at sizes around each tile with the float64 reference on the chosen
// adapter. print gets a table, a line an operation. A kernel that computes wrongly is a *usererr.Error that names it.
func Device(ctx context.Context, c settings.GPU, print func(line string)) error {
	dev, err := gpu.Open(ctx, gpu.Options{Adapter: c.Device})
	if err != nil {
		return err
	}
	defer dev.Release()
	print("Device: " + dev.Info.String())
	print(fmt.Sprintf("%-34s %-16s %6s %10s %8s", "operation", "variant", "cases", "allowance", "time"))
	rows := map[string]*checkRow{}
	var order []string
	var failure *opcases.Result
	for _, c := range opcases.All() {
		for _, v := range c.On(dev) {
			if err := ctx.Err(); err != nil {
				return err
			}
			key := c.Op + " " + v
			row := rows[key]
			if row == nil {
				row = &checkRow{op: c.Op, variant: v}
				rows[key] = row
				order = append(order, key)
			}
			start := time.Now()
			r := opcases.Run(ctx, dev, c, v)
			row.add(r, time.Since(start))
			if !r.OK() && failure == nil {
				failure = &r
			}
		}
	}
	cases := 0
	for _, key := range order {
		print(rows[key].String())
		cases += rows[key].cases
	}
	if failure != nil {
		return engine.WrongDevice(dev, *failure)
	}
	if cases == 0 {
		return usererr.New("check device", "", "there is no case")
	}
	print(fmt.Sprintf("All %d cases agree with the float64 reference.", cases))
	return nil
}

// checkRow sums up an operation's variant.
type checkRow struct {
	op, variant   string
	cases, failed int
	used          float64 // the largest share of an allowance
	took          time.Duration
	problem       string
}

func (row *checkRow) add(r opcases.Result, took time.Duration) {
	row.cases++
	row.took += took
	row.used = max(row.used, r.Used)
	if !r.OK() {
		row.failed++
		if row.problem == "" {
			row.problem = r.Case.Shape + ": " + r.Detail
			if r.Err != nil {
				row.problem = r.Case.Shape + ": " + r.Err.Error()
			}
		}
	}
}

func (row *checkRow) String() string {
	line := fmt.Sprintf("%-34s %-16s %6d %8.1f %% %6.1f s", row.op, row.variant, row.cases, 100*row.used, row.took.Seconds())
	if row.failed > 0 {
		line += fmt.Sprintf("  WRONG in %d cases, first %s", row.failed, row.problem)
	}
	return line
}
