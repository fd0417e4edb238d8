package words

import (
	"fmt"
	"strconv"
	"strings"
)

// Shell returns words as the command line of a POSIX shell that has them, on one line of
// which nothing is hidden.
func Shell(words ...string) string {
	quoted := make([]string, len(words))
	for i, word := range words {
		quoted[i] = quote(word)
	}
	return strings.Join(quoted, " ")
}

// quote returns a word as a shell's command line has it.
func quote(word string) string {
	switch {
	case Visible(word) != word:
		return `"$(printf '` + octal(word) + `')"`
	case word != "" && strings.Trim(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./=:,@%+") == "":
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

// octal returns text as printf of a shell writes it, within single quotes; it is no flag of printf.
func octal(text string) string {
	var b strings.Builder
	for i, r := range text {
		switch size := len(text[i:]) - len(strings.TrimPrefix(text[i:], string(r))); {
		case r == '%':
			b.WriteString("%%")
		case r == '\\':
			b.WriteString(`\\`)
		case r != '\'' && (i > 0 || r != '-') && size > 0 && strconv.IsPrint(r):
			b.WriteRune(r)
		default:
			for _, c := range []byte(text[i : i+max(1, size)]) {
				fmt.Fprintf(&b, `\%03o`, c)
			}
		}
	}
	return b.String()
}

// Path returns a path as one that no program takes for a flag.
func Path(path string) string {
	if strings.HasPrefix(path, "-") {
		return "./" + path
	}
	return path
}
