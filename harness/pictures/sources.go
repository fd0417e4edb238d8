package pictures

import (
	"fmt"
	"strings"

	"checkpoint12/harness"
	"checkpoint12/harness/internal/words"
	"checkpoint12/harness/report/page"
)

// sources returns what was compared: versions, hashes, how it ran.
func (b *builder) sources() (all []page.Fact) {
	add := func(name, value string) {
		if value != "" {
			all = append(all, page.Fact{Name: name, Value: value})
		}
	}
	add("program", b.o.Version)
	add("candidate", b.report.Candidate)
	add("compared with", b.report.Golden)
	if b.report.DType != "" {
		add("judged in", b.report.DType)
	}
	add("cut", b.report.Cut)
	if len(b.judged) == 0 {
		return all
	}
	j := &b.judged[0]
	all = append(all, bound("the candidate", j.Candidate.Manifest())...)
	for _, e := range j.Engines {
		all = append(all, bound("the golden of "+engineName(e), e.Source.Manifest())...)
	}
	if j.Model != nil {
		add("replayed by", j.Model.Name())
	}
	if tokens := j.Candidate.Tokens(); len(tokens) > 0 {
		add("tokens", words.Some(strings.Fields(strings.Trim(fmt.Sprint(tokens[0]), "[]")), 64))
	}
	return all
}

// mostFiles is how many of the files that made a dump are listed.
const mostFiles = 40

// bound returns what binds a dump to what made it.
func bound(of string, m *harness.Manifest) (all []page.Fact) {
	if m == nil {
		return []page.Fact{{Name: of, Value: "has no manifest: nothing binds it to what made it"}}
	}
	all = append(all, page.Fact{Name: of, Value: strings.TrimSpace(fmt.Sprintf("made by %s %s, %s, of %s", m.Engine.Name, m.Engine.Version, m.Engine.DType, m.Model.Name))})
	if m.Model.WeightsSHA256 != "" {
		all = append(all, page.Fact{Name: of + ": weights, SHA-256", Value: m.Model.WeightsSHA256})
	}
	for i, e := range m.Exporter {
		if i == mostFiles {
			all = append(all, page.Fact{Name: of, Value: fmt.Sprintf("and %d files more", len(m.Exporter)-i)})
			break
		}
		all = append(all, page.Fact{Name: of + ": " + e.Path + ", SHA-256", Value: e.SHA256})
	}
	return all
}
