package main

import (
	"encoding/json"
	"fmt"
	"strings"

	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/usererr"
)

type devicesCommand struct {
	JSON bool `name:"json" help:"Print a JSON array."`
}

// Run lists the adapters with what --device accepts.
func (d *devicesCommand) Run(c *console) error {
	adapters, err := gpu.Adapters()
	if err != nil {
		return err
	}
	if d.JSON {
		encoder := json.NewEncoder(c.stdout)
		encoder.SetIndent("", "  ")
		return encoder.Encode(adapters)
	}
	if len(adapters) == 0 {
		return usererr.New("devices", "", "there is no WebGPU adapter").
			Hinted("install the driver of your GPU, or a software one: mesa-vulkan-drivers on Debian and Ubuntu")
	}
	for _, a := range adapters {
		fmt.Fprintf(c.stdout, "%d: %s (%s, %s)\n", a.Index, a.Name, a.Type, a.Backend)
		fmt.Fprintf(c.stdout, "   binding %s, buffer %s, workgroup memory %d KiB\n",
			shownLimit(a.MaxBindingBytes), shownLimit(a.MaxBufferBytes), a.WorkgroupBytes>>10)
		fmt.Fprintf(c.stdout, "   features: %s\n", strings.Join(a.Features, ", "))
	}
	return nil
}

// shownLimit is a limit in bytes as a user reads it.
func shownLimit(bytes uint64) string {
	if bytes == gpu.NoLimit {
		return "without limit"
	}
	return fmt.Sprintf("%d MiB", bytes>>20)
}
