package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"github.com/alecthomas/kong"
	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"qlora-wgpu/internal/files"
	"qlora-wgpu/internal/settings"
	"qlora-wgpu/internal/usererr"
)

const (
	opConfig      = "read settings"
	maxConfigSize = 1 << 20
)

// configFile is a flag that names a YAML file of settings. Flags on the command line override it, it overrides
// defaults.
type configFile string

// BeforeResolve is called by kong between reading the command line and filling in what it does not set.
func (configFile) BeforeResolve(ctx *kong.Context, trace *kong.Path) error {
	path := string(ctx.FlagValue(trace.Flag).(configFile))
	found, err := readConfigFile(path, ctx.Selected().Flags)
	if err != nil {
		return err
	}
	ctx.AddResolver(found)
	return nil
}

// fileSettings are the values of a YAML file, decoded to the types of the flags they belong to.
type fileSettings map[*kong.Flag]any

func (s fileSettings) Validate(*kong.Application) error { return nil }

func (s fileSettings) Resolve(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
	return s[flag], nil
}

// readConfigFile reads one mapping of snake_case names (a flag's own, an alias or a negation) to values. null leaves
// the default. Errors name line and column.
func readConfigFile(path string, flags []*kong.Flag) (fileSettings, error) {
	content, err := files.Read(path, maxConfigSize)
	if err != nil {
		return nil, usererr.New(opConfig, path, "%w", err)
	}
	if err := checkNesting(path, string(content)); err != nil {
		return nil, err
	}
	document, err := parser.ParseBytes(content, 0)
	if err != nil {
		return nil, yamlError(path, nil, err)
	}
	if len(document.Docs) > 1 {
		return nil, usererr.New(opConfig, path, "several documents in one file").Of(usererr.Format)
	}
	found := fileSettings{}
	if len(document.Docs) == 0 || document.Docs[0].Body == nil || document.Docs[0].Body.Type() == ast.NullType {
		return found, nil
	}
	mapping, ok := document.Docs[0].Body.(*ast.MappingNode)
	if !ok {
		return nil, yamlError(path, document.Docs[0].Body, errors.New("not a mapping of names to values"))
	}
	byKey, keys := keysOf(flags)
	for _, pair := range mapping.Values {
		key := pair.Key.GetToken().Value
		target, ok := byKey[key]
		if !ok {
			return nil, usererr.New(opConfig, path, "unknown key %.60q", key).At("%s", position(pair.Key)).
				Hinted("%s", usererr.DidYouMean(key, keys, "--help lists them"))
		}
		if _, twice := found[target.flag]; twice {
			return nil, yamlError(path, pair.Key, errors.New(key+" is set a second time, under another of its names"))
		}
		if pair.Value.Type() == ast.NullType {
			continue
		}
		if found[target.flag], err = decode(pair.Value, target); err != nil {
			return nil, yamlError(path, pair.Value, fmt.Errorf("%s takes %s, this is %s", key, takes(target.kind()), describe(pair.Value)))
		}
	}
	return found, nil
}

// key is what a name in the file sets.
type key struct {
	flag    *kong.Flag
	negated bool
}

// kind is what the name's value has to be; that of a negation is true or false.
func (k key) kind() reflect.Kind {
	if k.negated {
		return reflect.Bool
	}
	return k.flag.Target.Kind()
}

// keysOf lists the names of the flags that are settings: those with a json tag.
func keysOf(flags []*kong.Flag) (map[string]key, []string) {
	byKey := map[string]key{}
	var keys []string
	for _, flag := range flags {
		if !flag.Tag.Has("json") {
			continue
		}
		for _, name := range names(flag) {
			snake := strings.ReplaceAll(name, "-", "_")
			byKey[snake] = key{flag, name == negation(flag)}
			keys = append(keys, snake)
		}
	}
	return byKey, keys
}

// decode reads a node as the type of its flag. Numbers are read from their text as on the command line: the YAML
// library would cut 16.5 down to a whole number and takes 2e-5 for a text.
func decode(node ast.Node, target key) (any, error) {
	if list, ok := node.(*ast.SequenceNode); ok && target.flag.Target.Kind() == reflect.Slice {
		items := make([]any, len(list.Values))
		for i, item := range list.Values {
			var err error
			if items[i], err = scalar(item); err != nil {
				return nil, err
			}
		}
		return items, nil
	}
	if list, ok := node.(*ast.SequenceNode); ok && target.flag.Tag.Has("lines") {
		lines := make([]string, len(list.Values))
		for i, item := range list.Values {
			var err error
			if lines[i], err = scalar(item); err != nil {
				return nil, err
			}
		}
		return strings.Join(lines, "\n"), nil
	}
	if object, ok := node.(*ast.MappingNode); ok && target.flag.Tag.Has("object") {
		return objectText(object)
	}
	text, err := scalar(node)
	if err != nil {
		return nil, err
	}
	on, isBool := node.(*ast.BoolNode)
	switch {
	case isBool && target.flag.IsBool():
		return on.Value != target.negated, nil
	case target.kind() == reflect.Bool:
		return nil, errNotScalar
	}
	switch target.kind() {
	case reflect.Int:
		return strconv.ParseInt(text, 10, strconv.IntSize)
	case reflect.Uint64:
		return strconv.ParseUint(text, 10, 64)
	case reflect.Float64:
		return strconv.ParseFloat(text, 64)
	}
	return text, nil // a text, or a list as the command line writes it
}

// objectText is a mapping as the JSON that the command line takes.
func objectText(node *ast.MappingNode) (string, error) {
	var object map[string]any
	if err := yaml.NodeToValue(node, &object); err != nil {
		return "", err
	}
	text, err := json.Marshal(object)
	return string(text), err
}

var errNotScalar = errors.New("another kind of value")

// scalar is the text of a single value.
func scalar(node ast.Node) (string, error) {
	switch n := node.(type) {
	case *ast.StringNode:
		return n.Value, nil
	case *ast.LiteralNode:
		return n.Value.Value, nil
	case *ast.BoolNode, *ast.IntegerNode, *ast.FloatNode:
		return n.GetToken().Value, nil
	}
	return "", errNotScalar
}

// takes says in words what a setting of a kind can be.
func takes(kind reflect.Kind) string {
	if kind == reflect.Slice {
		return "a name or a list of names"
	}
	return settings.Takes(kind)
}

func describe(node ast.Node) string {
	switch node.Type() {
	case ast.MappingType, ast.MappingValueType:
		return "a mapping"
	case ast.SequenceType:
		return "a list"
	}
	const shown = 60
	if text := node.String(); len(text) > shown {
		return strings.ToValidUTF8(text[:shown], "") + "…"
	}
	return node.String()
}

// yamlError takes the place from the YAML library's error, else from the node.
func yamlError(path string, node ast.Node, err error) error {
	var located yaml.Error
	if errors.As(err, &located) {
		where := located.GetToken().Position
		return usererr.New(opConfig, path, "%s", located.GetMessage()).Of(usererr.Format).At("line %d, column %d", where.Line, where.Column)
	}
	e := usererr.New(opConfig, path, "%w", err).Of(usererr.Format)
	if node != nil {
		e.Where = position(node)
	}
	return e
}

func position(node ast.Node) string {
	where := node.GetToken().Position
	return fmt.Sprintf("line %d, column %d", where.Line, where.Column)
}
