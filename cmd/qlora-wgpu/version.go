package main

import (
	"encoding/json"
	"fmt"

	"qlora-wgpu/internal/version"
)

type versionCommand struct {
	JSON bool `name:"json" help:"Print a JSON object."`
}

// Run says which build this is.
func (v *versionCommand) Run(c *console) error {
	build := version.Of()
	if v.JSON {
		encoder := json.NewEncoder(c.stdout)
		encoder.SetIndent("", "  ")
		return encoder.Encode(build)
	}
	_, err := fmt.Fprintln(c.stdout, build)
	return err
}
