package pictures

import (
	"slices"

	"checkpoint12/harness"
	"checkpoint12/harness/internal/names"
	"checkpoint12/harness/report/page"
)

// A size bounds what the cards of a page take, in bytes.
type size int

// of returns about how many bytes a card takes.
func (size) of(c *page.Card) (n size) {
	n = 400
	for _, p := range []*page.Picture{c.Golden, c.Replay} {
		if p == nil {
			continue
		}
		n += size(len(p.Points)) + 1200
		for _, panel := range p.Panels {
			n += size(len(panel.Dots)) + 80
		}
	}
	for _, in := range c.Inputs {
		for _, panel := range in.Panel {
			n += size(len(panel.Dots)) + 80
		}
	}
	for _, f := range c.Facts {
		n += size(len(f.Name) + len(f.Value) + 24)
	}
	return n
}

// draw adds cards to the run, what is wrong first, until so many bytes are spent; one at least.
func (b *builder) draw(left size) error {
	drawn := map[harness.Place]bool{}
	add := func(at harness.Place, inputs bool) error {
		if drawn[at] {
			return nil
		}
		card, err := b.near(at, inputs)
		if err != nil || card == nil {
			return err
		}
		if cost := left.of(card); cost <= left || len(drawn) == 0 {
			b.run.Cards, left, drawn[at] = append(b.run.Cards, *card), left-cost, true
		}
		return nil
	}
	wrong, sample := b.worthALook()
	for _, at := range wrong {
		if err := add(at, true); err != nil {
			return err
		}
	}
	for _, at := range sample {
		if err := add(at, false); err != nil {
			return err
		}
	}
	return nil
}

// Bounds on the places of which there are cards.
const maxPerFamily, maxWrong, maxSample = 3, 24, 12

// worthALook returns the places to draw: of what is wrong the first of each family of stages
// and some more, and a sample of what is not.
func (b *builder) worthALook() (wrong, sample []harness.Place) {
	cell := b.run.Start
	if n := len(b.run.Stages); n > 0 {
		wrong = append(wrong, harness.Place{Step: b.run.Steps[cell/n].N, Stage: b.run.Stages[cell%n].Name})
	}
	if b.report.FirstDivergence != nil {
		wrong = append(wrong, *b.report.FirstDivergence)
	}
	per := map[string]int{}
	take := func(list *[]harness.Place, at harness.Place, kind string, most int) {
		if key := kind + names.Family(at.Stage); per[key] < most && !slices.Contains(*list, at) {
			per[key]++
			*list = append(*list, at)
		}
	}
	for round := 1; round <= maxPerFamily; round++ { // of each family one, before another of any
		for _, in := range b.report.Introduced {
			take(&wrong, harness.Place{Step: in.Step, Stage: in.Stage}, "wrong", round)
		}
		if round == 1 {
			for _, v := range b.report.Violations {
				take(&wrong, v.Place, "wrong", round)
			}
		}
	}
	for i := range b.report.Stages {
		if row := &b.report.Stages[i]; row.Status.Diverges() && !row.OfGolden() {
			take(&wrong, row.Place, "outside", 1)
		}
	}
	worst := map[string]*harness.Row{}
	for i := range b.report.Stages {
		row := &b.report.Stages[i]
		family := names.Family(row.Stage)
		if row.Status == harness.Pass && !row.IDs && (worst[family] == nil || row.Share() > worst[family].Share()) {
			worst[family] = row
		}
	}
	families := map[string]bool{}
	for family := range worst {
		families[family] = true
	}
	for _, family := range sorted(families) {
		sample = append(sample, worst[family].Place)
	}
	slices.SortStableFunc(sample, b.schedule.Compare)
	n := maxSample
	if len(wrong) <= 1 {
		n *= 2
	}
	return wrong[:min(len(wrong), maxWrong)], sample[:min(len(sample), n)]
}
