package main

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"qlora-wgpu/internal/host"
	"qlora-wgpu/internal/model/spec"
	"qlora-wgpu/internal/pretrained"
	"qlora-wgpu/internal/preview"
	"qlora-wgpu/internal/settings"
	"qlora-wgpu/internal/usererr"
)

type planCommand struct {
	Settings settings.Plan `embed:""`
	JSON     bool          `name:"json" help:"Print a JSON object."`
}

// Run prints where everything would lie. It needs no GPU.
func (p *planCommand) Run(c *console) error {
	shape, name, err := p.shape(c)
	if err != nil {
		return err
	}
	if limit := shape.MaxPositions; p.Settings.MaxSeqLength > limit { // as train does
		fmt.Fprintf(c.stderr, "max_seq_length is %d: the model allows no more.\n", limit)
		p.Settings.MaxSeqLength = limit
	}
	report, err := preview.Plan(p.Settings, shape, name)
	if err != nil {
		return err
	}
	if p.JSON {
		encoder := json.NewEncoder(c.stdout)
		encoder.SetIndent("", "  ")
		return encoder.Encode(report)
	}
	_, err = fmt.Fprint(c.stdout, report)
	return err
}

func (p *planCommand) shape(c *console) (shape spec.Spec, name string, err error) {
	o := p.Settings
	switch {
	case (o.Model == "") == (o.Arch == ""):
		return shape, "", usererr.New("plan", "", "one of --model and --arch is wanted").
			Hinted("--arch knows %s", strings.Join(pretrained.ShapeNames(), ", "))
	case o.Model != "" && o.Layers != 0:
		return shape, "", settings.Wrong("layers", strconv.Itoa(o.Layers), "only with arch")
	case o.Model != "":
		model, err := host.DescribeModel(c.context, o.Model, c.logEvent)
		if err != nil {
			return shape, "", err
		}
		defer model.Close()
		for _, warning := range model.Warnings {
			c.warn(warning)
		}
		if err := model.Complete(); err != nil { // which a run would say when it loads
			return shape, "", err
		}
		return model.Spec, o.Model, nil
	}
	if shape, name, err = archShape(o.Arch); o.Layers > 0 {
		shape = shape.WithLayers(min(o.Layers, len(shape.Layers)))
	}
	return shape, name, err
}

// archShape is a common model's shape; an unknown name gets the nearest as an answer.
func archShape(arch string) (shape spec.Spec, name string, err error) {
	shape, known := pretrained.Shape(arch)
	names := pretrained.ShapeNames()
	if !known {
		err = usererr.New("plan", "", "there is no architecture %q", arch).Of(usererr.Unsupported).
			Hinted("%s", usererr.DidYouMean(strings.ToLower(arch), names, "there are "+strings.Join(names, ", ")))
	}
	return shape, arch, err
}
