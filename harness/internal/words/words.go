// Package words puts counts and lists into words, and finds the word that was meant.
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

// Nearest returns the name that differs least from word, by at most so many letters, or "".
func Nearest(word string, most int, names []string) string {
	nearest, least := "", most+1
	for _, name := range names {
		if d := distance(word, name, least); d < least {
			nearest, least = name, d
		}
	}
	return nearest
}

// distance returns Levenshtein's distance, or limit where it would be that or more.
func distance(a, b string, limit int) int {
	if abs := max(len(a)-len(b), len(b)-len(a)); abs >= limit || len(a) > 256 {
		return limit
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diag := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diag, row[j+1] = row[j+1], min(diag+cost, row[j+1]+1, row[j]+1)
		}
	}
	return min(row[len(b)], limit)
}
