// Package words puts counts and lists into words, and finds the word that was meant.
package words

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/agnivade/levenshtein"
)

// Visible returns text as one line in which nothing is hidden: if it holds anything that is
// not printed, such as a newline, an escape or a bidi mark, with Go's escapes for that.
func Visible(text string) string {
	hidden := func(r rune) bool { return !strconv.IsPrint(r) }
	if utf8.ValidString(text) && strings.IndexFunc(text, hidden) < 0 {
		return text
	}
	quoted := strconv.Quote(text)
	return strings.ReplaceAll(quoted[1:len(quoted)-1], `\"`, `"`)
}

// An Arg formats as the value in it does, and is Visible.
type Arg struct{ Value any }

// Format implements fmt.Formatter.
func (a Arg) Format(f fmt.State, verb rune) {
	io.WriteString(f, Visible(fmt.Sprintf(fmt.FormatString(f, verb), a.Value)))
}

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

// Some returns what And does, of more than so many items the first and the number of the
// rest: "a, b and 7 more".
func Some(items []string, most int) string {
	if n := len(items) - most; n > 0 {
		items = append(items[:most:most], fmt.Sprintf("%d more", n))
	}
	return And(items)
}

// maxLength bounds the words that are compared letter by letter.
const maxLength = 256

// Nearest returns the name that differs least from word, by at most so many letters, or "".
func Nearest(word string, most int, names []string) string {
	nearest, least := "", most+1
	for _, name := range names {
		if len(word) > maxLength || len(name) > maxLength {
			continue
		}
		if d := levenshtein.ComputeDistance(word, name); d < least {
			nearest, least = name, d
		}
	}
	return nearest
}
