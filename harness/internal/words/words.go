// Package words puts counts and lists into words.
package words

import (
	"fmt"
	"strings"
)

// Count returns "1 tensor" or "2 tensors".
func Count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// And returns "a", "a and b", or "a, b and c".
func And(items []string) string {
	last := len(items) - 1
	if last < 1 {
		return strings.Join(items, "")
	}
	return strings.Join(items[:last], ", ") + " and " + items[last]
}
