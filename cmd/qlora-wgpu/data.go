package main

type dataCommand struct {
	Inspect dataInspectCommand `cmd:"" help:"What a model would see of a data set and learn, and what in it is probably not meant."`
	Convert dataConvertCommand `cmd:"" help:"Write a data set as messages in JSON Lines, at will without duplicates and long rows."`
}
