package pictures

import (
	"fmt"
	"strings"

	"checkpoint12/harness"
	"checkpoint12/harness/report/page"
)

// maxListed bounds lists of what is alike.
const maxListed = 20

// singular makes the words of beside those for one.
var singular = strings.NewReplacer("kinds of", "kind of", "names", "name", "rows", "row", "checkpoints", "checkpoint", "cases", "case")

// beside returns what the verdict does not cover.
func (b *builder) beside() (all []page.Beside) {
	r := b.report
	add := func(n int, what, why string, list ...string) {
		if n == 1 {
			what = singular.Replace(what)
		}
		if n > 0 {
			all = append(all, page.Beside{N: n, What: what, Why: why, List: list})
		}
	}
	var missing, skipped, accepted, unjudged, doubted []string
	why := ""
	list := func(to *[]string, text string) {
		if len(*to) < maxListed {
			*to = append(*to, text)
		}
	}
	for _, m := range r.Missing {
		text := m.Place.String()
		if m.Position != nil {
			text += fmt.Sprintf(", position %d", *m.Position)
		}
		list(&missing, text)
	}
	for i := range r.Stages {
		row := &r.Stages[i]
		switch {
		case row.Accepted != "":
			list(&accepted, fmt.Sprintf("%s: %s", row.Place, row.Accepted))
		case row.Doubt != "":
			list(&doubted, fmt.Sprintf("%s: %s", row.Place, row.Doubt))
		case row.Status == harness.Skipped:
			if list(&skipped, row.Place.String()); why == "" {
				why = row.Detail
			}
		}
	}
	for i := range r.Replayed {
		if p := &r.Replayed[i]; p.Verdict == harness.ReplayUnknown {
			list(&unjudged, fmt.Sprintf("%s: %s", p.Place, p.Why))
		}
	}
	u := r.Unseen
	add(u.Missing, "missing", "the golden has them, the candidate has not", missing...)
	add(u.Skipped, "skipped", why, skipped...)
	add(u.Unjudged, "not judged by replay", "whether their own computation is wrong is not known", unjudged...)
	add(u.Unknown, "names not understood", "they are no stages")
	add(u.Unmatched, "without a golden", "nothing bounds them but the replay")
	add(u.Rows, "rows of the batch compared with nothing", "no golden was fed their tokens")
	add(u.Shared, "in the golden's own files", "they compare a file with itself")
	add(u.Doubted, "in doubt though within tolerance", "that they pass says little", doubted...)
	add(u.Accepted, "accepted by rules", "they fail, and are passed over", accepted...)
	if r.Replayed == nil {
		all = append(all, page.Beside{What: "not replayed",
			Why: "without --model it is not known which stages are wrong themselves and which inherit the error"})
	}
	if len(b.layers) == 0 {
		all = append(all, page.Beside{What: "no golden", Why: "each stage is judged on its own inputs alone"})
	}
	var left []string
	for _, l := range r.LeftOut {
		left = append(left, l.Stages+": "+l.Reason)
	}
	add(len(left), "kinds of stages left out by the golden", "as its manifest says", left...)
	return all
}
