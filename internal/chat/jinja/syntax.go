package jinja

// The syntax tree. Every node that can fail carries its line.
type (
	expression interface{}

	literal struct{ value Value }
	name    struct {
		name string
		line int
	}
	// index is x.key (dot) or x[key].
	index struct {
		of, key expression
		dot     bool
		line    int
	}
	slice struct {
		of, from, to, step expression // nil where left out
		line               int
	}
	call struct {
		of expression
		arguments
		line int
	}
	filter struct {
		of   expression
		name string
		arguments
		line int
	}
	test struct {
		of   expression
		name string
		arguments
		line int
	}
	unary struct {
		op   string
		of   expression
		line int
	}
	binary struct {
		op          string
		left, right expression
		line        int
	}
	comparison struct {
		first expression
		rest  []operand
		line  int
	}
	operand struct {
		op    string
		value expression
	}
	concat struct {
		parts []expression
		line  int
	}
	conditional struct{ condition, then, otherwise expression } // otherwise may be nil
	list        struct {
		items []expression
		tuple bool
	}
	dictionary struct {
		keys, values []expression
		line         int
	}

	arguments struct {
		positional []expression
		names      []string // of the keyword arguments
		named      []expression
		list, dict expression // what follows * and **; nil: nothing does
	}
)

type (
	statement interface{}

	text struct {
		text string
		line int
	}
	print struct {
		value expression
		line  int
	}
	ifElse struct {
		condition       expression
		then, otherwise []statement
	}
	forLoop struct {
		targets         []string
		unpack          bool
		over, condition expression // condition may be nil
		body, otherwise []statement
		line            int
	}
	set struct {
		targets []target
		unpack  bool
		value   expression
		line    int
	}
	// setBlock is {% set x %}…{% endset %}, with filters whose innermost operand is captured.
	setBlock struct {
		target  target
		body    []statement
		filters expression
		line    int
	}
	macroDefinition struct {
		name     string
		params   []string
		defaults []expression // of the last params
		body     []statement
		takes    extras
		line     int
	}
	// callBlock is {% call(params) f() %}…{% endcall %}: f finds the body as the macro "caller".
	callBlock struct {
		call   call
		caller macroDefinition
		line   int
	}
	// filterBlock is {% filter f %}…{% endfilter %}, whose innermost operand is captured.
	filterBlock struct {
		body    []statement
		filters expression
		line    int
	}
	// with has variables of its own.
	with struct {
		targets []target
		values  []expression
		body    []statement
	}
	// generation is what transformers' tag of that name surrounds: what an assistant has written.
	generation   struct{ body []statement }
	breakLoop    struct{}
	continueLoop struct{}
)

// extras are what a macro's body mentions of what a call may give beside the parameters.
type extras struct{ caller, positional, named bool }

// captured stands for the text of a set block inside its filters.
type captured struct{}

// target is a name, or an attribute of a namespace.
type target struct{ name, attribute string }
