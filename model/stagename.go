package model

import (
	"math"
	"strconv"
	"strings"
)

// StageName is the name of a stage taken apart.
type StageName struct {
	Layer       int     // -1 outside the blocks
	Word        string  // the name without the layer or the temperature: "attn.q", "ln_f", "probs_t"
	Temperature float64 // 0 but for probs_t
}

// ParseStage takes apart the name of a stage of a GPT-2 of any number of layers.
// For any other string, ok is false and the whole of it is the Word.
func ParseStage(name string) (s StageName, ok bool) {
	s = StageName{Layer: -1, Word: name}
	if rest, inBlock := strings.CutPrefix(name, "h."); inBlock {
		layer, word, _ := strings.Cut(rest, ".")
		s.Layer, _ = strconv.Atoi(layer)
		s.Word = word
	} else if t, isProbs := strings.CutPrefix(name, "probs_t"); isProbs {
		s.Temperature, _ = strconv.ParseFloat(t, 64)
		s.Word = "probs_t"
	}
	// Every stage is spelled in one way, which is String's.
	if rows[s.Kind()] == nil || s.String() != name || math.IsInf(s.Temperature, 0) {
		return StageName{Layer: -1, Word: name}, false
	}
	return s, true
}

// String returns the name: "h.3.attn.q", "ln_f", "probs_t0.5".
func (s StageName) String() string {
	if kind := s.Kind(); kind != s.Word {
		return strings.Replace(kind, "*", s.number(), 1)
	}
	return s.Word
}

// Kind returns the name with * for the layer or the temperature: the pattern
// that matches every stage which computes the same.
func (s StageName) Kind() string {
	switch {
	case s.Layer >= 0:
		return "h.*." + s.Word
	case s.Temperature > 0:
		return s.Word + "*"
	}
	return s.Word
}

// number returns what replaces the * of the kind.
func (s StageName) number() string {
	if s.Layer >= 0 {
		return strconv.Itoa(s.Layer)
	}
	return strconv.FormatFloat(s.Temperature, 'f', -1, 64)
}
