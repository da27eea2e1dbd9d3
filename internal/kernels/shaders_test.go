package kernels

import (
	"cmp"
	"go/constant"
	"go/token"
	"go/types"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	testify "github.com/stretchr/testify/require"

	"qlora-wgpu/gpu"
	"qlora-wgpu/shaders"
)

func TestEveryShaderIsDefined(t *testing.T) {
	testify.Equal(t, shaders.Names(), slices.Sorted(maps.Keys(defined)))
	testify.Len(t, Specs(), len(defined))
}

// TestEveryTextCompiles compiles every kernel with the file's own constants, and every module of the library by itself.
func TestEveryTextCompiles(t *testing.T) {
	dev, err := gpu.Open(t.Context(), gpu.Options{})
	testify.NoError(t, err)
	defer dev.Release()
	modules := ModuleSpecs()
	testify.Len(t, modules, len(shaders.Modules()))
	for _, spec := range slices.Concat(Specs(), modules) {
		if dev.Has(spec.Needs) {
			_, err := dev.Kernel(spec)
			testify.NoError(t, err)
		}
	}
}

var (
	comments        = regexp.MustCompile(`//.*`)
	paramsStruct    = regexp.MustCompile(`struct Params \{([^}]*)\}`)
	binding         = regexp.MustCompile(`@group\(0\) @binding\((\d+)\) var<([^>]*)> (\w+):`)
	workgroupVar    = regexp.MustCompile(`var<workgroup> \w+: array<(?:array<)?([^,]*), (\w+|\([^)]*\))>?(?:, (\w+))?>;`)
	workgroupScalar = regexp.MustCompile(`var<workgroup> \w+: u32;`)
	workgroupSize   = regexp.MustCompile(`@workgroup_size\(([^)]*)\)`)
	constU32        = regexp.MustCompile(`(?m)^const (\w+): u32 = (\w+);`)
)

func code(name string) string { return comments.ReplaceAllString(shaders.Source(name), "") }

// TestParams compares each shader's Params with its mirror in Go, field by field.
func TestParams(t *testing.T) {
	for name, s := range defined {
		structs := paramsStruct.FindAllStringSubmatch(code(name), -1)
		testify.Len(t, structs, 1, name)
		var fields []string
		for _, field := range strings.Split(structs[0][1], ",") {
			if field = strings.TrimSpace(field); field != "" {
				fields = append(fields, field)
			}
		}
		testify.Equal(t, []string{"group_base: u32", "group_end: u32"}, fields[:2], name)
		var want []string
		mirror := reflect.TypeOf(s.params)
		for i := range mirror.NumField() {
			kind := map[reflect.Kind]string{reflect.Uint32: "u32", reflect.Int32: "i32", reflect.Float32: "f32"}[mirror.Field(i).Type.Kind()]
			want = append(want, mirror.Field(i).Name+": "+kind)
		}
		var got []string
		for _, field := range fields[2:] {
			got = append(got, camelCase(field))
		}
		testify.Equal(t, want, got, name)
	}
}

// camelCase is "HeadDim4: u32" for "head_dim4: u32".
func camelCase(field string) (out string) {
	name, kind, _ := strings.Cut(field, ":")
	for _, word := range strings.Split(name, "_") {
		out += strings.ToUpper(word[:1]) + word[1:]
	}
	return out + ":" + kind
}

// TestBindings compares number, order and access of each shader's bindings with the definition.
func TestBindings(t *testing.T) {
	for name, s := range defined {
		source := code(name)
		found := binding.FindAllStringSubmatch(source, -1)
		testify.Len(t, found, strings.Count(source, "@binding"), name)
		number := func(b []string) int { n, _ := strconv.Atoi(b[1]); return n }
		// a module's stand behind the kernel's
		slices.SortFunc(found, func(a, b []string) int { return number(a) - number(b) })
		access := ""
		for i, b := range found {
			testify.Equal(t, strconv.Itoa(i), b[1], name)
			access += map[string]string{"uniform": "u", "storage, read": "r", "storage, read_write": "w"}[b[2]]
		}
		var want []byte
		for _, a := range s.bindings {
			want = append(want, byte(a))
		}
		testify.Equal(t, "u"+strings.ReplaceAll(string(want), "i", "w"), access, name)
		for i, b := range found[1:] {
			stored := regexp.MustCompile(`(?m)(^|[{;])\s*` + b[3] + `\[.*\](\.\w+)? [-+*/]?= `).MatchString(source)
			testify.Equal(t, s.bindings[i] == gpu.Write, stored,
				"%s: what is bound as an input is not stored to, what is bound as an output is: %s", name, b[3])
		}
	}
}

// TestNeeds compares what a shader enables with the feature that its variants ask of the device.
func TestNeeds(t *testing.T) {
	for name, s := range defined {
		enabled := ""
		if m := regexp.MustCompile(`(?m)^enable (\w+);`).FindStringSubmatch(code(name)); m != nil {
			enabled = m[1]
		}
		testify.Equal(t, enabled, s.needs, name)
	}
}

// guard finds the workgroup's number within a grid that is cut and folded, and ends those behind its end.
const (
	guard = `
  let group = group_of(wg, num, params.group_base);
  if (group >= params.group_end) { return; }
`
	groupOf = `
fn group_of(wg: vec3<u32>, num: vec3<u32>, base: u32) -> u32 {
  return base + wg.x + num.x * (wg.y + num.y * wg.z);
}
`
)

func TestGuard(t *testing.T) {
	for name := range defined {
		testify.Equal(t, 1, strings.Count(shaders.Source(name), groupOf), name)
		_, body, ok := strings.Cut(shaders.Source(name), "@compute")
		testify.True(t, ok, name)
		for _, builtin := range []string{"@builtin(workgroup_id) wg: vec3<u32>", "@builtin(num_workgroups) num: vec3<u32>"} {
			testify.Equal(t, 1, strings.Count(body, builtin), name)
		}
		_, body, ok = strings.Cut(body, ") {")
		testify.True(t, ok, name)
		testify.True(t, strings.HasPrefix(body, guard), "%s does not start with the guard", name)
	}
}

// recordedCells are shapes at which every variant runs: single tokens, tails of windows, and what is cut; every head
// dimension that constants depend on.
func recordedCells(op string) (cells []Cell) {
	for _, tokens := range []int{1, 5, 300} {
		for _, s := range [][2]int{{64, 64}, {16, 576}, {576, 16}, {1056, 2048}} {
			for _, weights := range []string{op, BenchF32Forward} {
				cells = append(cells, Cell{Op: weights, T: tokens, N: s[0], K: s[1]})
			}
		}
	}
	if !strings.HasPrefix(op, "attention_") {
		return cells
	}
	cells = nil
	for _, headDim := range []int{4, 32, 64, 96, 128, 256} {
		cells = append(cells, Cell{Op: op, T: 300, Heads: 4, KVHeads: 2, HeadDim: headDim})
	}
	return cells
}

// record gives the kernels that an operation's variants dispatch at these cells, wherever they fit.
func record[A arguments](o *operation[A]) (specs []gpu.KernelSpec) {
	dev := gpu.NewDryDiscrete()
	for _, c := range recordedCells(o.name) {
		a := o.operands(&maker{dev: dev}, c)
		for _, v := range o.variants {
			if !o.takes(&v, dev, a) {
				continue
			}
			rec := dev.DryRecord("test")
			v.run(a, rec, &v.Variant)
			specs = append(specs, rec.Kernels()...)
		}
	}
	return specs
}

// recorded is record whatever the operation's arguments; every shader that a variant has must be among it.
func recorded(t *testing.T, of table) (specs []gpu.KernelSpec) {
	switch o := of.(type) {
	case *operation[product]:
		specs = record(o)
	case *operation[nf4Product]:
		specs = record(o)
	case *operation[attention]:
		specs = record(o)
	}
	for _, v := range of.list() {
		for _, name := range v.Shaders() {
			ran := slices.ContainsFunc(specs, func(s gpu.KernelSpec) bool { return s.Name == name })
			testify.True(t, ran, "%s: no cell runs %s of %s", of.title(), name, v.Name)
		}
	}
	return specs
}

// TestWorkgroupLimits holds every shader, with every variant's constants, to what WebGPU promises on all devices.
func TestWorkgroupLimits(t *testing.T) {
	specs := map[string]gpu.KernelSpec{}
	for _, spec := range Specs() {
		specs[spec.Label()] = spec
	}
	for _, table := range tables {
		for _, spec := range recorded(t, table) {
			specs[spec.Label()] = spec
		}
	}
	for label, spec := range specs {
		source := comments.ReplaceAllString(gpu.Specialize(spec.Name, spec.Source, spec.Constants), "")
		values := map[string]string{}
		for _, m := range constU32.FindAllStringSubmatch(source, -1) {
			values[m[1]] = m[2]
		}
		sizes := workgroupSize.FindAllStringSubmatch(source, -1)
		testify.Len(t, sizes, 1, label)
		invocations := 1
		for _, size := range strings.Split(sizes[0][1], ",") {
			invocations *= evaluate(t, size, values)
		}
		testify.Positive(t, invocations, label)
		testify.LessOrEqual(t, invocations, 256, label)

		arrays := workgroupVar.FindAllStringSubmatch(source, -1)
		scalars := workgroupScalar.FindAllString(source, -1)
		testify.Equal(t, strings.Count(source, "var<workgroup>"), len(arrays)+len(scalars), label)
		bytes := 4 * len(scalars)
		for _, a := range arrays {
			element := map[string]int{"f32": 4, "u32": 4, "vec2<f32>": 8, "vec2<u32>": 8, "vec4<f32>": 16, "vec4<u32>": 16}[a[1]]
			testify.Positive(t, element, "%s: %s", label, a[0])
			bytes += element * evaluate(t, a[2], values) * evaluate(t, cmp.Or(a[3], "1u"), values)
		}
		testify.LessOrEqual(t, bytes, 16<<10, label)
	}
}

var number = regexp.MustCompile(`\b(0x[0-9a-f]+|\d+)u\b`)

// evaluate gives the value of a constant expression over a shader's constants.
func evaluate(t *testing.T, expression string, values map[string]string) int {
	text := regexp.MustCompile(`[A-Z]\w*`).ReplaceAllStringFunc(expression, func(name string) string { return values[name] })
	result, err := types.Eval(token.NewFileSet(), nil, token.NoPos, number.ReplaceAllString(text, "$1"))
	testify.NoError(t, err, expression)
	n, exact := constant.Int64Val(result.Value)
	testify.True(t, exact, expression)
	return int(n)
}
