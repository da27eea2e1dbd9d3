package main

import (
	"fmt"

	"qlora-wgpu/trainer"
)

type checkCommand struct {
	Device string `name:"device" help:"Adapter by index or by part of its name (see the devices command)." placeholder:"NAME"`
}

// Run prints the table line by line; a device that computes wrongly is a user's error.
func (k *checkCommand) Run(c *console) error {
	return trainer.Check(c.context, trainer.CheckOptions{Device: k.Device}, func(line string) {
		fmt.Fprintln(c.stdout, line)
	})
}
