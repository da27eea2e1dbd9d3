package main

type dataCommand struct {
	Inspect dataInspectCommand `cmd:"" help:"What a model would see of a data set and learn, and what in it is probably not meant."`
}
