package main

import (
	"fmt"

	"qlora-wgpu/internal/check"
	"qlora-wgpu/internal/settings"
)

type checkCommand struct {
	Settings settings.GPU `embed:""`
}

// Run prints the table line by line; a device that computes wrongly is a user's error.
func (k *checkCommand) Run(c *console) error {
	return check.Device(c.context, k.Settings, func(line string) {
		fmt.Fprintln(c.stdout, line)
	})
}
