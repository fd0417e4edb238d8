package page

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// A Num is a number of three significant digits. Its JSON is null for NaN, and ±1e999, which
// JavaScript reads as infinity, for the infinities.
type Num float64

// String returns the number for people. The script of the page writes it in the same way.
func (n Num) String() string {
	v := n.rounded()
	switch size := math.Abs(v); {
	case math.IsNaN(v):
		return "–"
	case math.IsInf(v, 0):
		return map[bool]string{false: "∞", true: "−∞"}[v < 0]
	case size != 0 && size < 1e-3 || size >= 1e6:
		return short.Replace(strconv.FormatFloat(v, 'e', -1, 64))
	}
	return strconv.FormatFloat(v, 'f', -1, 64)
}

// rounded returns the number with three digits.
func (n Num) rounded() float64 {
	v, _ := strconv.ParseFloat(strconv.FormatFloat(float64(n), 'g', 3, 64), 64)
	return v
}

// MarshalJSON writes the number as short as can be.
func (n Num) MarshalJSON() ([]byte, error) {
	v := float64(n)
	switch {
	case math.IsNaN(v):
		return []byte("null"), nil
	case math.IsInf(v, 0):
		return []byte(fmt.Sprintf("%de999", int(math.Copysign(1, v)))), nil
	}
	return []byte(short.Replace(strconv.FormatFloat(v, 'g', 3, 64))), nil
}

// short makes exponents as short as JSON allows.
var short = strings.NewReplacer("e-0", "e-", "e+0", "e", "e+", "e")

// Levels of a dot.
const (
	LevelExact     = 0   // no error
	LevelLow       = 1   // an error of a thousandth of its bound, or less
	LevelHigh      = 240 // of 100,000 times its bound, or more; between them by the logarithm
	LevelBlank     = 254 // nothing to compare
	LevelNonfinite = 255 // NaN, or not the same infinity
)

// Level returns the level of an error that is the share of its bound.
func Level(share float64) byte {
	switch {
	case share == 0:
		return LevelExact
	case math.IsNaN(share):
		return LevelNonfinite
	}
	const low, high = -3, 5
	at := (math.Log10(share) - low) / (high - low)
	return byte(LevelLow + math.Round(min(1, max(0, at))*(LevelHigh-LevelLow)))
}

// Bins is the number of bins of a histogram: exact, half a power of ten each from below
// 10⁻⁴ to above 10⁵, and not finite.
const Bins = 22

// Bin returns the bin of an error that is the share of its bound.
func Bin(share float64) int {
	switch {
	case share == 0:
		return 0
	case math.IsNaN(share):
		return Bins - 1
	case math.IsInf(share, 1):
		return Bins - 2
	}
	return 1 + min(Bins-3, max(0, int(math.Floor(2*(math.Log10(share)+4)))+1))
}
