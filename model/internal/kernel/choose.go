package kernel

import (
	"fmt"
	"os"
	"slices"
	"strings"
)

// Variable is the environment variable that names the kernels to use.
const Variable = "CHECKPOINT12_KERNELS"

// level says for which vectors of a processor kernels are. Those of one do what those below it do.
type level int

const (
	portable level = iota
	avx2           // and FMA
	avx512         // its F, DQ and VL
)

var levels = [...]string{portable: "portable", avx2: "avx2", avx512: "avx512"}

// kernels are those in use.
var kernels, chosen = choose(os.Getenv(Variable))

// Chosen returns an error if the environment asks for kernels that cannot be had.
func Chosen() error { return chosen }

// choose returns the kernels of this name; none is the best there are.
func choose(name string) (level, error) {
	if name == "" {
		return best, nil
	}
	have := levels[:best+1]
	if i := slices.Index(have, name); i >= 0 {
		return level(i), nil
	}
	why := "no kernels have this name"
	if slices.Contains(levels[:], name) {
		why = "this processor has not what they need"
	}
	return best, fmt.Errorf("%s=%s: %s; unset it for the fastest, or set one of %s", Variable, name, why, strings.Join(have, ", "))
}
