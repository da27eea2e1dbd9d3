//go:build !js

package inspect

import (
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
	"path"
	"strings"

	"qlora-wgpu/internal/usererr"
)

//go:embed page.html
var pageSource string

//go:embed page.css
var pageStyle string

var page = template.Must(template.New("page").Funcs(template.FuncMap{
	"line": usererr.OneLine, "number": grouped, "count": plural,
	"share":   func(part, of int) string { return fmt.Sprintf("%.1f", percent(part, of)) },
	"most":    mostRows,
	"over":    func(b Bin, limit int) bool { return limit > 0 && b.From > limit },
	"title":   func(f Finding) string { return usererr.OneLine(f.title()) },
	"about":   func(f Finding) string { return kinds[f.Kind].about },
	"places":  func(f Finding) string { return usererr.OneLine(f.places()) },
	"parts":   parts,
	"levels":  levels,
	"nothing": func() string { return nothing },
	"name":    (*Findings).name,
	"policy":  policy,
	"style":   func() template.CSS { return template.CSS(pageStyle) },
}).Parse(pageSource))

// HTML writes a page that needs nothing beside it: no script, nothing to load, which its own policy (CSP) forbids too.
// What rows hold is escaped.
func (f *Findings) HTML(w io.Writer) error { return page.Execute(w, f) }

// name is the data set's file.
func (f *Findings) name() string {
	if len(f.Splits) == 0 {
		return "A data set"
	}
	return usererr.OneLine(path.Base(strings.ReplaceAll(f.Splits[0].Path, `\`, "/")))
}

// policy allows the page's own style, and nothing else.
func policy() string {
	hash := sha256.Sum256([]byte(pageStyle))
	return "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(hash[:]) + "'; base-uri 'none'; form-action 'none'"
}
