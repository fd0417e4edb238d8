package pictures

import (
	"path/filepath"
	"strings"

	"checkpoint12/harness/diagnose"
	"checkpoint12/harness/report"
	"checkpoint12/harness/report/page"
)

// Options are what a page says beside a report.
type Options struct {
	Version string // of the program
	Line    string // the command line that the person gave
	Closer  string // the command that looks closer, or words for it

	Report   report.Options          // by which the report is written as text
	Siblings []diagnose.EngineResult // goldens of other engines of the same case, for their distances alone
}

// cardBytes is what the cards of one page take together at most.
const cardBytes = 420_000

// OfComparison returns the page of a comparison, whose sources are still open.
func OfComparison(r *diagnose.Result, o Options) (*page.Page, error) {
	b := &builder{o: o, report: r.Report, judged: r.Judged}
	if len(r.Judged) == 0 { // the weights as loaded are all there is
		return b.page(), nil
	}
	b.compare(r)
	if err := b.finish(cardBytes); err != nil {
		return nil, err
	}
	p := b.page()
	if r.Quorum != nil {
		p.Notes = append(p.Notes, r.Quorum.Lines()...)
	}
	return p, nil
}

// compare makes the run of a result, but for what shows tensors. Where the result is of all
// goldens together, that is a layer too.
func (b *builder) compare(r *diagnose.Result) {
	b.schedule = r.Judged[0].Schedule
	if len(r.Engines) > 1 && r.Report != r.Engines[0].Report {
		b.layers = []layer{{page.Together, r.Report}}
	}
	for _, e := range r.Engines {
		b.layers = append(b.layers, layer{engineName(e), e.Report})
	}
	b.build()
}

// finish adds what shows tensors, in about so many bytes.
func (b *builder) finish(bytes size) (err error) {
	if b.run.Tokens, err = b.tokens(); err == nil {
		err = b.draw(bytes)
	}
	return err
}

// page returns the page of the builder's run.
func (b *builder) page() *page.Page {
	r := b.report
	v := b.verdict()
	p := &page.Page{
		Title: strings.ToUpper(r.Verdict) + " " + filepath.Base(r.Candidate), Verdict: v, Beside: b.beside(),
		Findings: b.findings(0), Notes: r.Notes, Engines: b.engines(),
		Facts: b.sources(),
	}
	if len(b.run.Stages) > 0 {
		p.Runs, p.Stages = []page.Run{b.run}, summaries(b.schedule, r)
	}
	p.Rows, p.More = outside("", r)
	fit(p)
	p.Commands = append(p.Commands, page.Command{What: "what made this page", Line: b.o.Line})
	if v.Closer.Line != "" {
		p.Commands = append(p.Commands, v.Closer)
	}
	return p
}
