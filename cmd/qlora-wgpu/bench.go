package main

type benchCommand struct {
	Kernels benchKernelsCommand `cmd:"" help:"Time matrix products and attention at the shapes of common models, beside the device's ceilings."`
	Train   benchTrainCommand   `cmd:"" help:"Time whole optimizer steps, and each kernel in one."`
	Load    benchLoadCommand    `cmd:"" help:"Load a model, without the cache, beside only reading it as float32."`
	Paging  benchPagingCommand  `cmd:"" help:"Steps with half of the layers streamed against the same steps resident."`
}
