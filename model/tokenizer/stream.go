package tokenizer

import (
	"strings"
	"unicode/utf8"
)

// Stream decodes token by token, for a reader who sees text appear.
type Stream struct {
	t    *Tokenizer
	held []byte // the beginning of a character
}

// Stream returns a decoder at the beginning of a text.
func (t *Tokenizer) Stream() *Stream { return &Stream{t: t} }

// Push returns the text that id completes. The beginning of a character is held
// back until the rest comes; a byte that can be part of none becomes U+FFFD. So
// every return is valid UTF-8, and together with Flush's they are the text
// Decode returns for the same ids, each invalid byte replaced.
func (s *Stream) Push(id int) (string, error) {
	piece, err := s.t.Decode([]int{id})
	if err != nil {
		return "", err
	}
	s.held = append(s.held, piece...)
	var out []byte
	rest := s.held
	for len(rest) > 0 && utf8.FullRune(rest) {
		r, size := utf8.DecodeRune(rest)
		out = utf8.AppendRune(out, r)
		rest = rest[size:]
	}
	s.held = append(s.held[:0], rest...)
	return string(out), nil
}

// Flush returns the bytes that are held back when no more tokens come, each as
// U+FFFD, and leaves the Stream at the beginning of a text.
func (s *Stream) Flush() string {
	out := strings.Repeat(string(utf8.RuneError), len(s.held))
	s.held = s.held[:0]
	return out
}
