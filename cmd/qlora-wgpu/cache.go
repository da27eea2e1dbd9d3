package main

import (
	"encoding/json"
	"fmt"
	"time"

	"qlora-wgpu/internal/host"
	"qlora-wgpu/internal/nf4cache"
	"qlora-wgpu/internal/settings"
	"qlora-wgpu/paging"
)

type cacheCommand struct {
	Settings settings.Cache `embed:""`
	Clear    bool           `name:"clear" help:"Remove all quantized models that no run is using."`
	JSON     bool           `name:"json" help:"Print a JSON array of what is there (afterwards)."`
}

// Run lists the quantized models, and removes them where that is wanted.
func (k *cacheCommand) Run(c *console) error {
	dir, models, err := host.QuantizedModels(k.Settings.CacheDir)
	if err != nil {
		return err
	}
	if k.Clear {
		nf4cache.RemoveAbandoned(dir)
		kept := []nf4cache.Entry{}
		for _, m := range models {
			if err := m.Remove(); err != nil {
				fmt.Fprintln(c.stderr, "kept:", err)
				kept = append(kept, m)
			} else if !k.JSON {
				fmt.Fprintf(c.stdout, "removed %s: %s\n", paging.Size(m.Bytes), m)
			}
		}
		models = kept
	}
	if k.JSON {
		encoder := json.NewEncoder(c.stdout)
		encoder.SetIndent("", "  ")
		return encoder.Encode(models)
	}
	var total int64
	for _, m := range models {
		total += m.Bytes
		fmt.Fprintf(c.stdout, "%10s  last used %s  %s\n", paging.Size(m.Bytes), m.Used.Format(time.DateTime), m)
	}
	fmt.Fprintf(c.stdout, "%d quantized models, %s of at most %s, in %s\n",
		len(models), paging.Size(total), paging.Size(nf4cache.DefaultLimit), dir)
	return nil
}
