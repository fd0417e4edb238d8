package kernel

import (
	"fmt"
	"os"
)

// Variable is the environment variable that names the kernels to use.
const Variable = "CHECKPOINT12_KERNELS"

// avx2 says that products are taken by the assembly for AVX2 and FMA.
var avx2, chosen = choose(os.Getenv(Variable))

// Chosen returns an error if the environment asks for kernels that cannot be had.
func Chosen() error { return chosen }

// choose returns whether kernels of this name are those for AVX2; none is the best there is.
func choose(name string) (bool, error) {
	switch {
	case name == "":
		return hasAVX2, nil
	case name == "portable":
		return false, nil
	case name == "avx2" && hasAVX2:
		return true, nil
	case name == "avx2":
		return false, fmt.Errorf("%s=avx2: this processor has no AVX2 and FMA; unset it, or set portable", Variable)
	}
	return false, fmt.Errorf("%s=%s: want avx2 or portable, or nothing for the faster", Variable, name)
}
