package unlisted

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"

	"checkpoint12/model"
)

// aNumber finds numbers that stand alone: not those within names, as in h.2.ln_1.
var aNumber = regexp.MustCompile(`(?:^|[^\pL\d._])([-−]?\d+(?:\.\d+)?(?:e[-+]?\d+)?)`)

var aShortWord = regexp.MustCompile(`^\pL{1,3}$`)

// says reports whether a text has one alternative of each group of words.
func (f *Fault) says(text string, c model.Config) bool {
	text = strings.ToLower(strings.ReplaceAll(text, "−", "-"))
	var numbers []float64
	for _, m := range aNumber.FindAllStringSubmatch(text, -1) {
		if v, err := strconv.ParseFloat(m[1], 64); err == nil {
			numbers = append(numbers, v)
		}
	}
	value := 0.0
	if f.Number != nil {
		value = f.Number(c)
	}
	for _, group := range f.Words {
		found := false
		for alternative := range strings.SplitSeq(group, "|") {
			found = found || has(text, numbers, alternative, value)
		}
		if !found {
			return false
		}
	}
	return true
}

// has reports whether a text in lower case has an alternative. A number, # and 1/# are
// compared as numbers, to three digits, and after = to four. Three letters or fewer are a word
// of their own, or its plural; what is longer may be a part of words.
func has(text string, numbers []float64, alternative string, value float64) bool {
	near := 3e-3
	number, exact := strings.CutPrefix(alternative, "=")
	if exact {
		near = 2e-4
	}
	want, err := strconv.ParseFloat(number, 64)
	switch {
	case alternative == "#":
		want, err = value, nil
	case alternative == "1/#":
		want, err = 1/value, nil
	}
	if err == nil && alternative[0] != '+' {
		for _, v := range numbers {
			if math.Abs(v-want) <= near*math.Abs(want) {
				return true
			}
		}
		return false
	}
	word := strings.ToLower(strings.ReplaceAll(alternative, "#", fmt.Sprint(value)))
	if !aShortWord.MatchString(word) {
		return strings.Contains(text, word)
	}
	return regexp.MustCompile(`(^|[^\pL\d])` + word + `s?($|[^\pL\d])`).MatchString(text)
}

// What a text is read for, sentence by sentence.
var (
	// Sentences with one of these say nothing.
	statistics = []string{
		"rms is", "cosine", "values wrong", "of the output's size", "times the output's size", "no known fault", "no fit", "were not tried",
		"it is right at", "the same stage is right", "nothing is wrong in", "the error is spread over", "more of the error than elsewhere",
		"are 0 where the right values are not", "all is 0 in", "off by the same fault", "nearest", "would explain",
	}

	// Those with one of these claim nothing.
	hedges = []string{"nearest", "would explain", "no precision", "not a precision", "neither", "cannot be told", "could be"}

	// No fault is one of precision, but where its words say so.
	precisions = []string{"float16", "bfloat16", "bf16", "fp16", "tf32", "8 bits", "int8", "precision", "mantissa"}

	// A run with one fault has not this.
	another = []string{"second fault"}
)

// answer returns what a text says, without its statistics; "" if it explains nothing.
func answer(text string) string {
	var kept []string
	for _, s := range sentences(text) {
		if containsAny(strings.ToLower(s), statistics) == "" {
			kept = append(kept, s)
		}
	}
	return strings.Join(kept, "; ")
}

// claims returns what a text claims that is false, of a run with one fault or several.
func (f *Fault) claims(text string, alone bool) (all []string) {
	own := strings.ToLower(strings.Join(f.Words, "|"))
	for _, s := range sentences(strings.ToLower(text)) {
		if containsAny(s, hedges) != "" {
			continue
		}
		for _, list := range [][]string{f.Not, precisions, another} {
			if w := containsAny(s, list); w != "" && !strings.Contains(own, w) && (alone || w != another[0]) {
				all = append(all, w)
			}
		}
	}
	return all
}

// sentences returns the sentences of a text, and their parts at semicolons.
func sentences(text string) (all []string) {
	for part := range strings.SplitSeq(strings.ReplaceAll(strings.ReplaceAll(text, "\n", ". "), "; ", ". "), ". ") {
		all = append(all, strings.TrimSpace(part))
	}
	return all
}

// containsAny returns the first of the words that a text has, or "".
func containsAny(text string, words []string) string {
	for _, w := range words {
		if strings.Contains(text, strings.ToLower(w)) {
			return w
		}
	}
	return ""
}
