package harness

import (
	"encoding/json"
	"fmt"
	"math"
)

// Float is a float64 whose JSON knows the numbers that JSON lacks: they are the
// strings "NaN", "+Inf" and "-Inf".
type Float float64

// MarshalJSON writes a number, or one of the three strings.
func (f Float) MarshalJSON() ([]byte, error) {
	v := float64(f)
	switch {
	case math.IsNaN(v):
		return []byte(`"NaN"`), nil
	case math.IsInf(v, 1):
		return []byte(`"+Inf"`), nil
	case math.IsInf(v, -1):
		return []byte(`"-Inf"`), nil
	}
	return json.Marshal(v)
}

// UnmarshalJSON reads what MarshalJSON writes.
func (f *Float) UnmarshalJSON(b []byte) error {
	switch string(b) {
	case `"NaN"`:
		*f = Float(math.NaN())
	case `"+Inf"`:
		*f = Float(math.Inf(1))
	case `"-Inf"`:
		*f = Float(math.Inf(-1))
	case "null":
		return fmt.Errorf("null is not a number")
	default:
		return json.Unmarshal(b, (*float64)(f))
	}
	return nil
}
