package main

import (
	"fmt"
	"io"

	"qlora-wgpu/internal/answer"
	"qlora-wgpu/internal/settings"
)

type generateCommand struct {
	Settings settings.Generate `embed:""`
}

// Run streams the answer to stdout and says all else on stderr.
func (g *generateCommand) Run(c *console) error {
	began := false
	err := answer.Generate(c.context, g.Settings, func(piece string) error {
		began = true
		_, err := io.WriteString(c.stdout, piece)
		return err
	}, c.logEvent)
	if err == nil || began { // what failed before it leaves stdout empty
		if _, failed := fmt.Fprintln(c.stdout); err == nil {
			err = failed
		}
	}
	return err
}
