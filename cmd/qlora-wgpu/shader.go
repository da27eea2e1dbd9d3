package main

import (
	"fmt"
	"slices"
	"strings"

	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/opcases"
	"qlora-wgpu/internal/usererr"
	"qlora-wgpu/shaders"
)

const opShader = "shader"

type shaderCommand struct {
	Name    string `arg:"" optional:"" help:"The kernel; without it the names of all are listed." placeholder:"NAME"`
	Variant string `name:"variant" help:"With this variant's constants, at the first test shape; otherwise the file's own." placeholder:"NAME"`
}

// Help follows the summary.
func (*shaderCommand) Help() string {
	return "The WGSL text that a driver's compiler gets: linked with what it imports of the library, and unrolled."
}

// Run prints the text, or the names.
func (k *shaderCommand) Run(c *console) error {
	if k.Name == "" {
		if k.Variant != "" {
			return usererr.New(opShader, "", "--variant without the name of a kernel")
		}
		for _, name := range shaders.Names() {
			fmt.Fprintln(c.stdout, name)
		}
		return nil
	}
	if !slices.Contains(shaders.Names(), k.Name) {
		return usererr.New(opShader, "", "there is no kernel %q", k.Name).
			Hinted("%s", usererr.DidYouMean(k.Name, shaders.Names(), "without a name the command lists them"))
	}
	spec := gpu.KernelSpec{Name: k.Name, Source: shaders.Source(k.Name)}
	if k.Variant != "" {
		var err error
		if spec, err = variantOf(k.Name, k.Variant); err != nil {
			return err
		}
	}
	fmt.Fprintf(c.stdout, "// %s\n%s", spec.Label(), gpu.Specialize(spec.Name, spec.Source, spec.Constants))
	return nil
}

// variantOf is the kernel as a variant of its operation dispatches it, recorded without hardware.
func variantOf(name, variant string) (found gpu.KernelSpec, err error) {
	dev := gpu.NewDry(gpu.Options{}, gpu.Subgroups)
	var runs, variants []string // what the variant dispatches, and what the operation has
	for _, c := range opcases.All() {
		own := c.On(dev)
		if own[0] == "" || !strings.HasPrefix(name+"_", c.Op+"_") {
			continue
		}
		variants = own
		if !slices.Contains(variants, variant) {
			return found, usererr.New(opShader, "", "%s has no variant %q", c.Op, variant).
				Hinted("%s", usererr.DidYouMean(variant, variants, "there are "+strings.Join(variants, ", ")))
		}
		trial := opcases.Prepare(dev, c, variant)
		specs := trial.Kernels()
		trial.Release()
		for _, spec := range specs {
			if spec.Name == name {
				return spec, nil
			}
			if !slices.Contains(runs, spec.Name) {
				runs = append(runs, spec.Name)
			}
		}
	}
	if variants == nil {
		return found, usererr.New(opShader, "", "%s has no variants", name)
	}
	return found, usererr.New(opShader, "", "variant %s does not run %s", variant, name).Hinted("it runs %s", strings.Join(runs, ", "))
}
