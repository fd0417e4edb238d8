// Package tokenizer turns text into GPT-2's tokens and back.
package tokenizer

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"github.com/pkoukk/tiktoken-go"

	"checkpoint12/model/vocab"
)

// EndOfText is GPT-2's only special token, the last of the vocabulary.
const (
	EndOfText   = "<|endoftext|>"
	EndOfTextID = 50256
)

// MaxText and MaxRun are the longest text and the longest run in it, of letters, of
// digits, of spaces or of anything else, that Encode accepts, in bytes. The time of
// byte-pair merging grows with the square of a run's length.
const (
	MaxText = 1 << 20
	MaxRun  = 4 << 10
)

const (
	vocabularySHA256 = "306cd27f03c1a714eca7108e03d66b7dc042abe8c258b44c199a7ed9838dd930"
	// splitPattern cuts text into pieces, as encoder.py of github.com/openai/gpt-2.
	splitPattern = `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`
)

// Tokenizer is GPT-2's tokenizer. It is safe for concurrent use.
type Tokenizer struct {
	bpe    *tiktoken.Tiktoken
	tokens []string // [50257] bytes of each id
}

// New returns the tokenizer of GPT-2, all sizes: the same one at every call.
func New() (*Tokenizer, error) { return shared() }

var shared = sync.OnceValues(func() (*Tokenizer, error) {
	ranks, tokens, err := parseVocabulary(vocab.R50K)
	if err != nil {
		return nil, fmt.Errorf("embedded vocabulary r50k_base.tiktoken: %w", err)
	}
	// Built from its parts: tiktoken.GetEncoding would ask the network.
	core, err := tiktoken.NewCoreBPE(ranks, nil, splitPattern)
	if err != nil {
		return nil, fmt.Errorf("tiktoken: %w", err)
	}
	return &Tokenizer{tiktoken.NewTiktoken(core, nil, nil), tokens}, nil
})

// parseVocabulary reads lines "base64 id" whose ids count up from 0.
func parseVocabulary(file string) (ranks map[string]int, tokens []string, err error) {
	if sum := sha256.Sum256([]byte(file)); hex.EncodeToString(sum[:]) != vocabularySHA256 {
		return nil, nil, fmt.Errorf("sha-256 is %x, want %s", sum, vocabularySHA256)
	}
	ranks = make(map[string]int, EndOfTextID)
	for line := range strings.Lines(file) {
		encoded, _, _ := strings.Cut(line, " ")
		token, err := base64.StdEncoding.DecodeString(encoded)
		if err != nil {
			return nil, nil, err
		}
		ranks[string(token)] = len(tokens)
		tokens = append(tokens, string(token))
	}
	return ranks, append(tokens, EndOfText), nil
}

// Size returns the number of token ids, 50257; the ids are 0 to Size-1.
func (t *Tokenizer) Size() int { return len(t.tokens) }

// Encode returns the token ids of text. EndOfText anywhere in it is the special
// token. Text that is not valid UTF-8, longer than MaxText or with a run longer than
// MaxRun is an error. Decode gives the very same text back.
func (t *Tokenizer) Encode(text string) ([]int, error) {
	if err := checkText(text); err != nil {
		return nil, err
	}
	ids := []int{}
	for i, part := range strings.Split(text, EndOfText) {
		if i > 0 {
			ids = append(ids, EndOfTextID)
		}
		if part != "" {
			ids = append(ids, t.bpe.EncodeOrdinary(part)...)
		}
	}
	return ids, nil
}

// Decode returns the text of ids, which need not be valid UTF-8: a token may end
// inside a character. An id that is not in the vocabulary is an error.
func (t *Tokenizer) Decode(ids []int) (string, error) {
	var b strings.Builder
	for i, id := range ids {
		if id < 0 || id >= len(t.tokens) {
			return "", fmt.Errorf("token %d of %d has id %d: the vocabulary ends at %d",
				i, len(ids), id, len(t.tokens)-1)
		}
		b.WriteString(t.tokens[id])
	}
	return b.String(), nil
}

// checkText applies the bounds of Encode.
func checkText(text string) error {
	if len(text) > MaxText {
		return fmt.Errorf("text of %d bytes: at most %d can be encoded at once", len(text), MaxText)
	}
	var class, start int
	for i, r := range text {
		if r == utf8.RuneError {
			if _, size := utf8.DecodeRuneInString(text[i:]); size < 2 {
				return fmt.Errorf("text is not UTF-8: byte %d is 0x%02x", i, text[i])
			}
		}
		if c := runeClass(r); c != class {
			class, start = c, i
		}
		if i+utf8.RuneLen(r)-start > MaxRun {
			return fmt.Errorf("text has more than %d bytes from byte %d on with no change between letters, digits, spaces and signs: break it up",
				MaxRun, start)
		}
	}
	return nil
}

// runeClass returns the class of a rune; pieces span one, but for a leading space.
func runeClass(r rune) int {
	switch {
	case unicode.IsLetter(r):
		return 1
	case unicode.IsNumber(r):
		return 2
	case unicode.IsSpace(r):
		return 3
	}
	return 4
}

// Stream decodes token by token, for a reader who sees text appear.
type Stream struct {
	t    *Tokenizer
	held []byte // the beginning of a character
}

// Stream returns a decoder at the beginning of a text.
func (t *Tokenizer) Stream() *Stream { return &Stream{t: t} }

// Push returns the text that id completes: the beginning of a character is held
// back until the rest comes; a byte that can be part of none becomes U+FFFD.
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

// Flush returns the bytes that are held back, each as U+FFFD, and begins anew.
func (s *Stream) Flush() string {
	out := strings.Repeat(string(utf8.RuneError), len(s.held))
	s.held = s.held[:0]
	return out
}
