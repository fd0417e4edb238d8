package gpt2

import (
	"fmt"
	"math"
	"strings"

	"checkpoint12/harness/internal/rounding"
)

// A Precision is what an engine is meant to compute in. Sums are accumulated in float32 in
// any of them, of narrow factors in partial sums that may each be rounded.
type Precision struct {
	Name   string // as flags take it
	Stored string // the type of every value that is stored, in words; "" if it is float32

	step    float64 // roundoff of each elementary result and of the inputs, relative
	factor  float64 // of the factors of a product; 0 where they are exact
	weight  float64 // of weights and constants; 0 where they are exact
	partial float64 // of each partial sum; 0 where it is float32's own
	tiny    float64 // the smallest subnormal
	most    float64 // the largest finite number

	Round rounding.Rounding // of each value that is stored; nil keeps all
}

// The precisions.
var (
	Float32  = Precision{Name: "f32", step: unit, most: math.MaxFloat32}
	TF32     = Precision{Name: "tf32", step: unit, factor: 0x1p-10, most: math.MaxFloat32} // of hardware that cuts bits off
	Float16  = narrow("f16", "float16", 0x1p-11, 0x1p-24, 65504, rounding.Float16)
	BFloat16 = narrow("bf16", "bfloat16", 0x1p-8, 0x1p-133, math.MaxFloat32, rounding.BFloat16)
)

// narrow returns the precision of a type that every value has.
func narrow(name, stored string, unit, tiny, most float64, round rounding.Rounding) Precision {
	return Precision{Name: name, Stored: stored, step: unit, factor: unit, weight: unit, partial: unit, tiny: tiny, most: most, Round: round}
}

// Precisions are all there are.
var Precisions = []Precision{Float32, TF32, Float16, BFloat16}

// ParsePrecision returns the precision of a name.
func ParsePrecision(name string) (Precision, error) {
	var names []string
	for _, p := range Precisions {
		if p.Name == name {
			return p, nil
		}
		names = append(names, p.Name)
	}
	return Precision{}, fmt.Errorf("%.40q is no precision: want one of %s", name, strings.Join(names, ", "))
}

// String returns the name.
func (p *Precision) String() string { return p.Name }

// Set sets the precision by its name.
func (p *Precision) Set(name string) (err error) {
	*p, err = ParsePrecision(name)
	return err
}

// Type names the kind of flag.
func (p *Precision) Type() string { return "TYPE" }

// IsFloat32 reports whether nothing is rounded to less than float32. The zero Precision
// is float32 too.
func (p Precision) IsFloat32() bool { return p.factor == 0 }

// Coarseness returns how many times coarser than float32's its rounding is.
func (p Precision) Coarseness() float64 { return max(p.step, p.factor) / unit }

// Unit returns the unit roundoff of what is stored.
func (p Precision) Unit() float64 { return p.step }

// summed is the number of terms of a sum of which the partial sum may be rounded.
const summed = 512

// sum returns the rounding of a sum of n products, |Σt| and ‖t‖₂ of which are total and norm.
func (p Precision) sum(n int, total, norm float64) float64 {
	e := unit * math.Sqrt(float64(n)) * (total + norm)
	if p.partial > 0 {
		e += p.partial * math.Sqrt(math.Ceil(float64(n)/summed)) * (total + norm)
	}
	return e
}

// product returns the rounding of the factors of products t, ‖t‖₂ of which is norm.
func (p Precision) product(norm float64) float64 { return math.Sqrt2 * p.factor * norm }

// Tap is a model.Tap that rounds every value as it is stored, but ids.
func (p Precision) Tap(stage string, _ []int, data []float32) {
	if p.Round != nil && stage != "next_token" {
		p.Round(data, data)
	}
}

// limit returns a bound of a value, which an engine whose numbers end before it may
// have as an infinity.
func (p Precision) limit(y float32, bound float64) float32 {
	bound += p.tiny
	if p.most < math.MaxFloat32 && abs(y)*(1+p.step)+bound >= p.most {
		bound = math.Inf(1)
	}
	return float32(bound)
}
