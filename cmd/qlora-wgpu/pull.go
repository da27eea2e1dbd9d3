package main

import (
	"fmt"

	"qlora-wgpu/internal/host"
	"qlora-wgpu/internal/hub"
	"qlora-wgpu/internal/usererr"
)

type pullCommand struct {
	Name    string   `arg:"" help:"OWNER/NAME, with @REVISION or :GGUF_TYPE, datasets/OWNER/NAME, or an address." placeholder:"OWNER/NAME"`
	Include []string `name:"include" help:"Fetch what fits: '*.json', 'folder/', '*' for all." placeholder:"PATTERN"`
}

// Help says where files go and what steers it.
func (p *pullCommand) Help() string {
	return `Files go where Hugging Face's own libraries put and find them: below HF_HUB_CACHE, or HF_HOME/hub. Of a model its ` +
		`configuration, its tokenizer and its weights are fetched, of a data set everything. HF_TOKEN (or the token of "hf auth login") ` +
		`opens gated and private ones, HF_ENDPOINT names another hub, HF_HUB_OFFLINE=1 takes what the cache has. The folder is printed.`
}

// Run fetches and prints the path.
func (p *pullCommand) Run(c *console) error {
	n, named, err := hub.Parse(p.Name, hub.Models)
	if err != nil {
		return err
	}
	if !named {
		return usererr.New("fetch from the hub", p.Name, "this is no name of a repository").Hinted("it is written owner/name, as on its page")
	}
	if n.File != "" && (len(p.Include) > 0 || n.Type == hub.Datasets) {
		return usererr.New("fetch from the hub", p.Name,
			":%s chooses a GGUF model, which goes neither with --include nor with a data set", n.File).
			Hinted("leave it out, or --include")
	}
	h, err := host.OpenHub(n.String(), c.logEvent)
	if err != nil {
		return err
	}
	var path string
	switch {
	case len(p.Include) > 0 || n.Type == hub.Datasets:
		path, err = h.Files(c.context, n, p.Include)
	default:
		path, err = h.ModelOrAdapter(c.context, n, host.Unread)
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(c.stdout, path)
	return err
}
