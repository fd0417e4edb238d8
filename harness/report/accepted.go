package report

import (
	"fmt"

	"checkpoint12/harness"
)

// The marks of what is wrong, in reports that show what a replay found beside what is compared.
const (
	MarkOwn       = "●" // computes wrong itself
	MarkInherited = "○" // correct for its inputs, which are wrong
)

// Accepted says of a place at which a failure is passed over what is wrong there, as far as
// that is known, which file accepts it, and why; "" of any other place.
func Accepted(r *harness.Report, at harness.Place) string {
	why := r.Accepted(at)
	if why == "" {
		return ""
	}
	row := r.Row(at)
	own := row != nil && row.Origin == harness.OriginIntroduced
	for _, in := range r.Introduced {
		own = own || at == harness.Place{Step: in.Step, Stage: in.Stage}
	}
	mark, what := "", ""
	switch {
	case own:
		mark, what = MarkOwn+" ", Wrongly(r.IsOtherPoint(at))+", "
	case r.Inherits(at) || row != nil && row.Origin == harness.OriginInherited:
		mark, what = MarkInherited+" ", "only inherits what is wrong, "
	}
	return fmt.Sprintf("%s%s: %saccepted by %s: %s", mark, at, what, r.Bounds.File, why)
}

// Wrongly says what a stage does whose output is not what follows from its inputs: it computes
// wrong or, if what reads it goes by another value than it has, is only dumped at another point.
func Wrongly(otherPoint bool) string {
	if otherPoint {
		return "is not used as it is dumped"
	}
	return "computes wrong"
}
