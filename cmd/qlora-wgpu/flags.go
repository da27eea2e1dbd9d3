package main

import (
	"errors"
	"reflect"
	"strings"

	"github.com/alecthomas/kong"

	"qlora-wgpu/internal/settings"
	"qlora-wgpu/internal/usererr"
)

// decodeResume lets --resume stand alone for --resume=auto.
func decodeResume(ctx *kong.DecodeContext, target reflect.Value) error {
	next := ctx.Scan.Peek()
	if next.IsEOL() || next.InferredType().IsAny(kong.FlagToken, kong.ShortFlagToken) {
		target.SetString("auto")
		return nil
	}
	token, err := ctx.Scan.PopValue("auto or a checkpoint's folder")
	if err != nil {
		return err
	}
	target.SetString(token.String())
	return nil
}

// decodeLines adds another value of a flag that may be there again, on a line of its own.
func decodeLines(ctx *kong.DecodeContext, target reflect.Value) error {
	token, err := ctx.Scan.PopValue("text")
	if err != nil {
		return err
	}
	text := token.String()
	if before := target.String(); before != "" {
		text = before + "\n" + text
	}
	target.SetString(text)
	return nil
}

// checkpointingMapper reads gradient_checkpointing, which other tools have as a switch: on is full.
type checkpointingMapper struct{}

// IsBool lets the flag stand alone and be negated.
func (checkpointingMapper) IsBool() bool { return true }

func (checkpointingMapper) Decode(ctx *kong.DecodeContext, target reflect.Value) error {
	setting := settings.CheckpointFull
	if ctx.Scan.Peek().Type == kong.FlagValueToken {
		setting = ctx.Scan.Pop().String()
	}
	switch setting {
	case "true":
		setting = settings.CheckpointFull
	case "false":
		setting = settings.CheckpointOff
	}
	target.SetString(setting)
	return nil
}

// goless says the parser's types of numbers in words.
var goless = strings.NewReplacer("a valid 64 bit int ", "a whole number ", "a valid 64 bit uint ", "a whole number from 0 ",
	"a float ", "a number ", " (string)", "")

// parseError makes a user's error of what the parser says, with the nearest known flag for an unknown one.
func parseError(err error) error {
	var mistake *usererr.Error
	if errors.As(err, &mistake) {
		return mistake
	}
	var parse *kong.ParseError
	rest, unknown := strings.CutPrefix(err.Error(), "unknown flag ")
	if !unknown || !errors.As(err, &parse) {
		return usererr.New("command line", "", "%s", goless.Replace(err.Error())).Hinted("--help lists the commands and flags")
	}
	given, _, _ := strings.Cut(rest, ",")
	var known []string
	for _, flag := range parse.Context.Flags() {
		for _, name := range names(flag) {
			known = append(known, dashes(name)+name)
		}
	}
	return usererr.New("command line", "", "unknown flag %s", given).Hinted("%s", usererr.DidYouMean(given, known, "--help lists them"))
}

func dashes(name string) string {
	if len(name) == 1 {
		return "-"
	}
	return "--"
}

// names are all names of a flag in kebab-case: its own, its aliases, its negation.
func names(flag *kong.Flag) []string {
	all := append([]string{flag.Name}, flag.Aliases...)
	if name := negation(flag); name != "" {
		all = append(all, name)
	}
	return all
}

// negation is the name that sets a boolean flag to false, if it has one. Kong writes "_" for --no-name.
func negation(flag *kong.Flag) string {
	switch negatable := flag.Tag.Negatable; negatable {
	case "_":
		return "no-" + flag.Name
	default:
		return negatable
	}
}
