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
	err := answer.Generate(c.context, g.Settings, func(piece string) error {
		_, err := io.WriteString(c.stdout, piece)
		return err
	}, c.logEvent)
	fmt.Fprintln(c.stdout)
	return err
}
