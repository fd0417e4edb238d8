// Package names matches and checks the names of stages.
package names

import (
	"fmt"
	"path"
	"regexp"
	"strings"
)

var valid = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]*$`)

// Valid reports whether a stage can have the name, with which a file's begins.
func Valid(stage string) bool { return valid.MatchString(stage) }

// Match reports whether a stage's name matches a pattern, as Python's fnmatch: * is any
// characters, ? is one, [abc] and [!abc] one of a set. A malformed pattern matches none.
func Match(pattern, stage string) bool {
	if !strings.ContainsAny(pattern, `?[\`) && strings.Count(pattern, "*") <= 1 { // as most are
		head, tail, star := strings.Cut(pattern, "*")
		return pattern == stage || star && len(stage) >= len(head)+len(tail) &&
			strings.HasPrefix(stage, head) && strings.HasSuffix(stage, tail)
	}
	// path.Match never lets * cross a slash, and stage names have none.
	ok, err := path.Match(strings.ReplaceAll(pattern, "[!", "[^"), stage)
	return ok && err == nil
}

// CheckPattern returns an error if the pattern is empty or malformed.
func CheckPattern(pattern string) error {
	if pattern == "" {
		return fmt.Errorf("empty stage pattern")
	}
	if _, err := path.Match(strings.ReplaceAll(pattern, "[!", "[^"), ""); err != nil {
		return fmt.Errorf("stage pattern %q: %w", pattern, err)
	}
	return nil
}

// numbered is a part of a name that is a number, but no fraction's: probs_t0.5.
var numbered = regexp.MustCompile(`([^.0-9])\.([0-9]+)(\.|$)`)

// Family returns a stage's name with * for each part that is a number: h.*.ln_1.
func Family(stage string) string { return numbered.ReplaceAllString(stage, "$1.*$3") }

// Layer returns a stage's name up to its last number: "h.3." for h.3.ln_1, else "".
func Layer(stage string) string {
	end := 0
	for _, number := range numbered.FindAllStringIndex(stage, -1) {
		end = number[1]
	}
	return stage[:end]
}

// Numbers returns the numbers in a stage's name, joined by dots: "3" for h.3.ln_1.
func Numbers(stage string) string {
	var numbers []string
	for _, m := range numbered.FindAllStringSubmatch(stage, -1) {
		numbers = append(numbers, m[2])
	}
	return strings.Join(numbers, ".")
}
