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

// mostRows is the largest bin's.
func mostRows(bins []Bin) (most int) {
	for _, bin := range bins {
		most = max(most, bin.Rows)
	}
	return most
}

// shown is a piece of a sample and the class of what it is.
type shown struct{ Text, Class string }

// parts are a sample's, neighbours of a kind together.
func parts(s Sample) (all []shown) {
	for _, turn := range s.Turns {
		if turn.Role != "" {
			all = append(all, shown{turn.Role + ": ", "mark"})
		}
		all = append(all, shown{lines(turn.Text) + "\n", ""})
	}
	for _, t := range s.Tokens {
		class := class(t)
		if n := len(all); n > 0 && all[n-1].Class == class {
			all[n-1].Text += t.Text
		} else {
			all = append(all, shown{t.Text, class})
		}
	}
	for i := range all {
		all[i].Text = lines(all[i].Text)
	}
	return all
}
