package cli

import (
	"errors"
	"io"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"checkpoint12/harness/diagnose"
	"checkpoint12/harness/pictures"
	"checkpoint12/harness/report"
	"checkpoint12/harness/report/page"
)

// asHTML is the report as a page for people. What it shows of tensors is gathered while
// their files are open, if the page is asked for.
var asHTML = format{"html", "write the report as a page to `FILE`: a map, pictures of what is wrong; nothing else is needed to read it",
	func(w io.Writer, j *judgement) error {
		if j.page == nil {
			return errors.New("there is nothing to show")
		}
		return page.Write(w, j.page)
	}}

// comparisonPage returns the page of a comparison.
func (a *app) comparisonPage(r *diagnose.Result, c *diagnose.Comparison, golden string, o report.Options) (*page.Page, error) {
	return pictures.OfComparison(r, pictures.Options{
		Version: version(), Line: a.line(a.args...), Report: o,
		Closer:   strings.ReplaceAll(string(o.Closer), "\u00a0", " "), // which no word that is quoted has
		Siblings: siblings(r, c, golden),
	})
}

// siblings returns the goldens that other engines have of the case of the one in a folder, so
// that the page can say how far correct engines are apart; none that were fed other tokens.
func siblings(r *diagnose.Result, c *diagnose.Comparison, golden string) []diagnose.EngineResult {
	if golden == "" || len(c.Goldens) != 1 || c.Cut != nil || c.Rows != nil || len(r.Engines) != 1 || c.Goldens[0].Source.Manifest() == nil {
		return nil
	}
	engines, err := diagnose.OpenEngines(filepath.Dir(filepath.Clean(golden)), c.Schedule)
	if err != nil { // they judge nothing
		return nil
	}
	own := c.Goldens[0].Source
	return slices.DeleteFunc(engines, func(e diagnose.EngineResult) bool {
		return e.Source.Manifest().Model.WeightsSHA256 != own.Manifest().Model.WeightsSHA256 ||
			!reflect.DeepEqual(e.Source.Tokens(), own.Tokens())
	})
}
