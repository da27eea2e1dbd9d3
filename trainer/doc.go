// Package trainer is a training run: the loop of steps with its schedule, evaluations and checkpoints, going on from a
// checkpoint, and what a run writes. It is also the entry for Go programs: Defaults with a model and data is a Config,
// Train opens the files that it names and runs it, and Run does so with files that are open already, wherever they lie.
// examples/train is such a program.
//
// What comes before the first step (checking the device, planning memory, loading, compiling, measuring) is done at
// once, by Prepare alone if the caller wants it early. From there on settings, data and seed decide every byte of the
// adapter: a run that was interrupted and resumed, that streams its weights, or that runs in a browser's tab gives
// those of one that nothing disturbed. Estimate tells beforehand how long that takes. What a step computed is told as
// an Event, and written to the log before the next one.
//
// Errors. A mistake in settings or files is a *usererr.Error, with file, place and a way out. What the device or its
// driver did is an ErrEngineFault: it is worth another try from the last checkpoint, on a device opened anew. When the
// context ends, a run finishes its step, saves a checkpoint and returns the context's error.
package trainer
