package tokenizer

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"unicode"
	"unicode/utf8"

	"pgregory.net/rapid"

	"checkpoint12/model/vocab"
)

func newTokenizer(t testing.TB) *Tokenizer {
	t.Helper()
	tok, err := New()
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

func TestEncodeKnown(t *testing.T) {
	tok := newTokenizer(t)
	for _, tt := range []struct {
		text string
		want []int
		why  string
	}{
		{"", []int{}, "nothing"},
		{"Hello.", []int{15496, 13}, "checkpoint 12"},
		{"The quick brown", []int{464, 2068, 7586}, "checkpoint case"},
		{"Once upon a time", []int{7454, 2402, 257, 640}, "checkpoint case"},
		{"What is the answer to life, the universe, and everything?",
			[]int{2061, 318, 262, 3280, 284, 1204, 11, 262, 6881, 11, 290, 2279, 30}, "checkpoint 12"},
		{"Hello world", []int{15496, 995}, "published figure"},
		{"The dog was found in a field near the intersection of West and West Streets.\n\nThe dog",
			[]int{464, 3290, 373, 1043, 287, 257, 2214, 1474, 262, 16246, 286, 2688, 290, 2688, 27262, 13, 198, 198, 464, 3290},
			"greedy ids of gpt2 in transformers' test_modeling_gpt2.py, with their text"},
		{EndOfText, []int{50256}, "the special token alone"},
		{"Hello." + EndOfText + EndOfText + "Hello.", []int{15496, 13, 50256, 50256, 15496, 13}, "the special token within"},
		{"<|endoftext|", []int{27, 91, 437, 1659, 5239, 91}, "not quite the special token"},
		{"  a", []int{220, 257}, "the last space goes with the word"},
		{"a  ", []int{64, 220, 220}, "spaces at the end stay together, then are not merged"},
		{"I'll", []int{40, 1183}, "contraction"},
	} {
		got, err := tok.Encode(tt.text)
		if err != nil || !slices.Equal(got, tt.want) {
			t.Errorf("%s: Encode(%q) = %v, %v; want %v", tt.why, tt.text, got, err, tt.want)
		}
		if back, err := tok.Decode(tt.want); err != nil || back != tt.text {
			t.Errorf("%s: Decode(%v) = %q, %v; want %q", tt.why, tt.want, back, err, tt.text)
		}
	}
}

func TestEncodeRefuses(t *testing.T) {
	tok := newTokenizer(t)
	for _, tt := range []struct{ text, want, why string }{
		{"ab\xffcd", "byte 2 is 0xff", "the library would put U+FFFD there"},
		{"ab\xe2\x82", "byte 2 is 0xe2", "character cut off"},
		{"\xed\xa0\x80", "byte 0 is 0xed", "half of a surrogate pair"},
		{strings.Repeat("ab ", MaxText/3+1), "at most 1048576", "total size"},
		{". " + strings.Repeat("a", MaxRun+1), "more than 4096 bytes from byte 2 on", "letters are merged in quadratic time"},
		{strings.Repeat("é", MaxRun/2) + "a", "from byte 0 on", "bytes, not characters"},
		{strings.Repeat("\n", MaxRun+1), "more than 4096", "spaces too"},
	} {
		if ids, err := tok.Encode(tt.text); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: Encode gave %d ids and error %v, want one saying %q", tt.why, len(ids), err, tt.want)
		}
	}
	for _, text := range []string{
		"\ufffd is a character like any other",
		strings.Repeat("a", MaxRun) + " " + strings.Repeat("1", MaxRun) + strings.Repeat("=", MaxRun),
	} {
		if _, err := tok.Encode(text); err != nil {
			t.Errorf("Encode(%.40q…): %v", text, err)
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	tok := newTokenizer(t)
	if tok.Size() != 50257 {
		t.Fatalf("Size() = %d", tok.Size())
	}
	for _, id := range []int{-1, 50257, math.MaxInt, math.MinInt} {
		if text, err := tok.Decode([]int{13, id}); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("token 1 of 2 has id %d", id)) {
			t.Errorf("Decode of id %d = %q, %v", id, text, err)
		}
		if text, err := tok.Stream().Push(id); err == nil {
			t.Errorf("Push(%d) = %q without error", id, text)
		}
	}
}

func TestVocabularyIsChecked(t *testing.T) {
	damaged := []byte(vocab.R50K)
	damaged[len(damaged)/2] ^= 1
	for name, file := range map[string]string{"one bit": string(damaged), "cut": vocab.R50K[:len(vocab.R50K)-1], "empty": ""} {
		if _, _, err := parseVocabulary(file); err == nil || !strings.Contains(err.Error(), vocabularySHA256) {
			t.Errorf("%s: error %v, want one naming the hash", name, err)
		}
	}
	tok := newTokenizer(t)
	for b := range 256 {
		if !slices.Contains(tok.tokens[:256], string([]byte{byte(b)})) {
			t.Errorf("byte %#02x has no token of its own: some text could not be encoded", b)
		}
	}
}

// text draws strings that mix what the splitter tells apart.
var text = rapid.Custom(func(t *rapid.T) string {
	word := rapid.SampledFrom([]string{"the", " quick", "'s", "'ll", "'", " ", "  ", "\n", "\t", "\u00a0", "\u3000",
		"12", " 7", "½", "?!", " --", "é", "漢字", "🙂", "\ufffd", "e\u0301", "ก", "\x00", EndOfText, "<|", "|>", "Ünï", "\u2028"})
	part := rapid.OneOf(word, rapid.String())
	return strings.Join(rapid.SliceOfN(part, 0, 20).Draw(t, "parts"), "")
})

func TestTokenizerProperties(t *testing.T) {
	tok := newTokenizer(t)
	rapid.Check(t, func(rt *rapid.T) { checkRoundTrip(rt, tok, text.Draw(rt, "text")) })
}

func FuzzTokenizer(f *testing.F) {
	for _, s := range []string{"", "Hello.", "a" + EndOfText, " \n 'll 12é漢🙂", "\xff", strings.Repeat("a", MaxRun+1)} {
		f.Add(s)
	}
	tok := newTokenizer(f)
	f.Fuzz(func(t *testing.T, s string) { checkRoundTrip(t, tok, s) })
}

// checkRoundTrip asserts that s, if it is to be encoded at all, comes back from
// its tokens, at once and streamed, and that they are those of naiveEncode.
func checkRoundTrip(t rapid.TB, tok *Tokenizer, s string) {
	ids, err := tok.Encode(s)
	if !utf8.ValidString(s) {
		if err == nil {
			t.Fatalf("Encode(%q) took invalid UTF-8", s)
		}
		return
	}
	if err != nil {
		if len(s) <= MaxRun {
			t.Fatalf("Encode(%q): %v", s, err)
		}
		return
	}
	if len(s) <= 500 { // it is slow
		if want := naiveEncode(s); !slices.Equal(ids, want) {
			t.Fatalf("Encode(%q) = %v, want %v", s, ids, want)
		}
	}
	if back, err := tok.Decode(ids); err != nil || back != s {
		t.Fatalf("Decode(Encode(%q)) = %q, %v", s, back, err)
	}
	if back := streamed(t, tok, ids); back != s {
		t.Fatalf("streamed: %q, want %q", back, s)
	}
}

func streamed(t rapid.TB, tok *Tokenizer, ids []int) string {
	var b strings.Builder
	s := tok.Stream()
	for _, id := range ids {
		piece, err := s.Push(id)
		if err != nil {
			t.Fatal(err)
		}
		if !utf8.ValidString(piece) {
			t.Fatalf("Push(%d) = %q, which is not UTF-8", id, piece)
		}
		b.WriteString(piece)
	}
	b.WriteString(s.Flush())
	return b.String()
}

// TestStreamOfAnyTokens covers what no text encodes to: a model is free to
// choose half a character.
func TestStreamOfAnyTokens(t *testing.T) {
	tok := newTokenizer(t)
	rapid.Check(t, func(rt *rapid.T) {
		// The first 256 ids are single bytes, the worst case.
		id := rapid.OneOf(rapid.IntRange(0, 255), rapid.IntRange(0, EndOfTextID))
		ids := rapid.SliceOf(id).Draw(rt, "ids")
		whole, err := tok.Decode(ids)
		if err != nil {
			rt.Fatal(err)
		}
		if got, want := streamed(rt, tok, ids), string([]rune(whole)); got != want {
			rt.Fatalf("streamed %q, want %q", got, want)
		}
	})
}

func TestStreamHoldsBack(t *testing.T) {
	tok := newTokenizer(t)
	ids, err := tok.Encode("🙂!") // a token ends within the emoji
	if err != nil {
		t.Fatal(err)
	}
	s := tok.Stream()
	var got []string
	for _, id := range ids {
		piece, err := s.Push(id)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, piece)
	}
	if want := []string{"", "🙂", "!"}; !slices.Equal(got, want) {
		t.Errorf("pieces %q, want %q", got, want)
	}
	if rest := s.Flush(); rest != "" {
		t.Errorf("Flush() = %q after whole characters", rest)
	}
}

func TestTokenizerConcurrent(t *testing.T) {
	want := map[string][]int{"Hello.": {15496, 13}, "a" + EndOfText: {64, EndOfTextID}}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			tok, err := New()
			if err != nil {
				t.Error(err)
				return
			}
			for range 50 {
				for s, ids := range want {
					if got, err := tok.Encode(s); err != nil || !slices.Equal(got, ids) {
						t.Errorf("Encode(%q) = %v, %v", s, got, err)
					}
				}
			}
		})
	}
	wg.Wait()
}

// naiveEncode is byte-pair encoding as it is defined, without a regular
// expression and without caring for time: split, then merge the pair with the
// lowest id until none is left.
func naiveEncode(s string) []int {
	id := naiveIDs()
	ids := []int{}
	for i, part := range strings.Split(s, EndOfText) {
		if i > 0 {
			ids = append(ids, EndOfTextID)
		}
		for part != "" {
			n := naiveSplit(part)
			var symbols []string
			for i := range n {
				symbols = append(symbols, part[i:i+1])
			}
			for {
				best, at := math.MaxInt, -1
				for i := 1; i < len(symbols); i++ {
					if rank, ok := id[symbols[i-1]+symbols[i]]; ok && rank < best {
						best, at = rank, i
					}
				}
				if at < 0 {
					break
				}
				symbols[at-1] += symbols[at]
				symbols = slices.Delete(symbols, at, at+1)
			}
			for _, symbol := range symbols {
				ids = append(ids, id[symbol])
			}
			part = part[n:]
		}
	}
	return ids
}

var naiveIDs = sync.OnceValue(func() map[string]int {
	ranks, _, _ := parseVocabulary(vocab.R50K)
	return ranks
})

// naiveSplit returns the length of the first piece of s by splitPattern.
func naiveSplit(s string) int {
	for _, contraction := range []string{"'s", "'t", "'re", "'ve", "'m", "'ll", "'d"} {
		if strings.HasPrefix(s, contraction) {
			return len(contraction)
		}
	}
	space := 0
	if s[0] == ' ' {
		space = 1
	}
	for _, is := range []func(rune) bool{unicode.IsLetter, unicode.IsNumber,
		func(r rune) bool { return !unicode.IsSpace(r) && !unicode.IsLetter(r) && !unicode.IsNumber(r) }} {
		if n := len(s[space:]) - len(strings.TrimLeftFunc(s[space:], is)); n > 0 {
			return space + n
		}
	}
	n := len(s) - len(strings.TrimLeftFunc(s, unicode.IsSpace))
	if _, last := utf8.DecodeLastRuneInString(s[:n]); n < len(s) && n > last {
		return n - last // leave one for what follows
	}
	return n
}
