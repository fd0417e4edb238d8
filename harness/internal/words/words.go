// Package words puts counts into words.
package words

import "fmt"

// Count returns "1 tensor" or "2 tensors".
func Count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
