package fit

import (
	"fmt"
	"math"
	"strings"
)

// severalParts lists norms of which several parts are other than they should be, or left out: the
// mean, the divisor, the gain and the bias. Of one part alone the other lists tell.
func severalParts() (all []normCase) {
	centres := []struct {
		text string
		mean float64 // times the row's
	}{{"", 1}, {"the mean is not taken off", 0}}
	scales := []divisor{{"", nil}}
	for _, eps := range []float64{-1, 0, 1e-6, 1e-8, 1e-12, 1e-3} { // -1 is the config's
		eps := func(n *norming) float64 {
			if eps < 0 {
				return n.eps
			}
			return eps
		}
		text := func(of string) string {
			switch v := eps(&norming{eps: -1}); v {
			case -1:
				return fmt.Sprintf("the divisor is √(%s + eps)", of)
			case 0:
				return fmt.Sprintf("the divisor is √(%s), without epsilon", of)
			default:
				return fmt.Sprintf("the divisor is √(%s + %v)", of, v)
			}
		}
		if len(scales) > 1 { // else it is the right one
			scales = append(scales, divisor{text("variance"), func(n *norming, r int) float64 { return math.Sqrt(n.variance[r] + eps(n)) }})
		}
		scales = append(scales, divisor{text("mean of x²"), func(n *norming, r int) float64 {
			return math.Sqrt(n.variance[r] + n.mean[r]*n.mean[r] + eps(n))
		}})
	}
	scales = append(scales, divisors...)
	factors := []struct {
		text           string
		plus, of, bias float64 // of the gain, and of the bias
	}{
		{"", 0, 1, 1},
		{"the gain is not applied", 1, 0, 1},
		{"the gain is applied as 1 + gain", 1, 1, 1},
		{"the bias is not added", 0, 1, 0},
		{"the gain is not applied, the bias is not added", 1, 0, 0},
		{"the gain is applied as 1 + gain, the bias is not added", 1, 1, 0},
		{"the bias is subtracted", 0, 1, -1},
	}
	for _, m := range centres {
		for _, d := range scales {
			for _, f := range factors {
				var parts []string
				for _, text := range []string{m.text, d.text, f.text} {
					if text != "" {
						parts = append(parts, text)
					}
				}
				if len(parts) < 2 {
					continue
				}
				text := strings.Join(parts, "; ")
				if m.mean == 0 && strings.Contains(d.text, "mean of x²") {
					text = "RMSNorm in the place of LayerNorm: " + text
				}
				all = append(all, normCase{PatternStatistics, text, 0, func(n *norming) func(int) float64 {
					_, own := n.own()
					return func(i int) float64 {
						r, c := i/n.C, i%n.C
						by := own
						if d.of != nil {
							by = func(r int) float64 { return d.of(n, r) }
						}
						return (float64(n.x[i])-m.mean*n.mean[r])/by(r)*(f.plus+f.of*float64(n.gain[c])) + f.bias*float64(n.bias[c])
					}
				}})
			}
		}
	}
	return all
}
