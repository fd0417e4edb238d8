package page

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
	"reflect"
	"slices"
	"strings"

	"checkpoint12/harness/internal/words"
)

//go:embed page.html
var pageHTML string

//go:embed page.css
var pageCSS string

//go:embed charts.js
var chartsJS string

//go:embed page.js
var pageJS string

// script is that of the page.
var script = chartsJS + pageJS

var tmpl = template.Must(template.New("page").Funcs(template.FuncMap{
	"upper":   strings.ToUpper,
	"share":   Share,
	"heading": heading,
	"join":    words.And,
	"word":    word,
	"isSet":   func(n Num) bool { return n == n && n != 0 },
}).Parse(pageHTML))

// mostBytes is what a page takes, if shorter texts can do it.
const mostBytes = 1_000_000

// Write writes the page.
func Write(w io.Writer, p *Page) error {
	var out bytes.Buffer
	for _, longest := range []int{2000, 400, 80} {
		p := visible(reflect.ValueOf(p), longest).Interface().(*Page)
		out.Reset()
		err := tmpl.Execute(&out, struct {
			*Page
			Policy string
			CSS    template.CSS
			JS     template.JS
			Map    *gridView
			Data   []Run
		}{p, policy(), template.CSS(pageCSS), template.JS(script), firstMap(p), data(p.Runs)})
		if err != nil {
			return err
		}
		if out.Len() <= mostBytes {
			break
		}
	}
	_, err := out.WriteTo(w)
	return err
}

// data returns runs as the script gets them.
func data(runs []Run) []Run {
	all := slices.Clone(runs)
	for i := range runs {
		if i > 0 && reflect.DeepEqual(runs[i].Stages, runs[i-1].Stages) {
			all[i].Stages = nil
		}
	}
	return all
}

// word returns the text of a token and its id, of which either's direction is its own.
func word(token string) []string {
	if i := strings.LastIndexByte(token, ' '); i > 0 {
		return []string{token[:i], token[i+1:]}
	}
	return []string{token, ""}
}

// heading returns that of findings.
func heading(all []Finding) string {
	if slices.ContainsFunc(all, func(f Finding) bool { return f.Why == "" }) {
		return "What is wrong"
	}
	return "What was accepted"
}

// policy allows the page's own script and style, by their hashes, and no request.
func policy() string {
	hash := func(text string) string {
		sum := sha256.Sum256([]byte(text))
		return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
	}
	return fmt.Sprintf("default-src 'none'; script-src %s; style-src %s; base-uri 'none'; form-action 'none'",
		hash(script), hash(pageCSS))
}

// visible returns a copy of v in which what is not printed is visible in every text, which is
// not longer than that many characters, and numbers are as the data have them.
func visible(v reflect.Value, longest int) reflect.Value {
	to := reflect.New(v.Type()).Elem()
	to.Set(v)
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			to.Set(visible(v.Elem(), longest).Addr())
		}
	case reflect.Struct:
		for i := range v.NumField() {
			to.Field(i).Set(visible(v.Field(i), longest))
		}
		if c, ok := v.Interface().(Command); ok { // the whole of it can be run
			line := words.Visible(c.Line)
			if len(line) > longestLine {
				line = ""
			}
			to.FieldByName("Line").SetString(line)
		}
	case reflect.Slice:
		if !v.IsNil() {
			to.Set(reflect.MakeSlice(v.Type(), v.Len(), v.Len()))
			for i := range v.Len() {
				to.Index(i).Set(visible(v.Index(i), longest))
			}
		}
	case reflect.Float64:
		to.SetFloat(Num(v.Float()).rounded())
	case reflect.String:
		if t := v.Type(); t != reflect.TypeFor[Base64]() && t != reflect.TypeFor[Cells]() { // of our own making
			to.SetString(clipped(words.Visible(v.String()), longest))
		}
	}
	return to
}

// longestLine is the number of characters of a command that are shown, as some thousand tokens
// take them.
const longestLine = 16_000

// clipped returns a text that is cut if need be: what comes from outside may have any length.
func clipped(text string, longest int) string {
	if len(text) <= longest {
		return text
	}
	return strings.ToValidUTF8(text[:longest], "") + "…"
}

// shareOf returns an error as a share of a bound that has a name: "19 times the bound".
func shareOf(n Num, bound string) string {
	switch text := Share(n); {
	case strings.HasSuffix(text, "times"):
		return text + " " + bound
	case strings.HasSuffix(text, "%"):
		return text + " of " + bound
	default:
		return text
	}
}

// Share returns an error as a share of its bound, in words.
func Share(n Num) string {
	switch v := float64(n); {
	case v != v:
		return "–"
	case v == 0:
		return "exact"
	case v > 1e300:
		return "not the same"
	case v > 1:
		return n.String() + " times"
	case v < 1e-4:
		return "below 0.01%"
	default:
		return Num(100*v).String() + "%"
	}
}
