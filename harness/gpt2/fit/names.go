package fit

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"checkpoint12/model"
)

// blockInput is what names call the stage that a block reads, whichever block it is.
const blockInput = "the block's input"

// seenFrom returns the name of a stage as seen from another, so that it is the same in every
// block: without the layer if they are of one block, with the difference of the layers
// ("resid_mid of layer -1") in another.
func seenFrom(cfg model.Config, from model.StageName, stage string) string {
	s, _ := model.ParseStage(stage)
	switch {
	case from.Layer >= 0 && stage == inputOf(cfg, from.Layer):
		return blockInput
	case s.Layer < 0 || from.Layer < 0:
		return stage
	case s.Layer == from.Layer:
		return s.Word
	}
	return fmt.Sprintf("%s of layer %+d", s.Word, s.Layer-from.Layer)
}

// asSeen returns the stage that has a name of seenFrom as seen from another.
func asSeen(cfg model.Config, from model.StageName, name string) string {
	word, offset, other := strings.Cut(name, " of layer ")
	s := model.StageName{Layer: from.Layer, Word: word}
	switch {
	case name == blockInput:
		return inputOf(cfg, from.Layer)
	case other:
		d, _ := strconv.Atoi(offset)
		s.Layer += d
	case from.Layer < 0 || outsideBlocks(word):
		return word
	}
	return s.String()
}

// inputOf returns the stage that a block reads.
func inputOf(cfg model.Config, layer int) string {
	return model.Reads(cfg, model.StageName{Layer: layer, Word: "ln_1"}.String())[0]
}

// otherLayer is how seenFrom names another layer.
var otherLayer = regexp.MustCompile(` of layer [+-]\d+`)

// layersNamed returns a text in which other layers are named in words: " of layer -2" could be read
// as the last but one.
func layersNamed(text string) string {
	return otherLayer.ReplaceAllStringFunc(text, func(name string) string {
		n, _ := strconv.Atoi(strings.TrimPrefix(name, " of layer "))
		switch {
		case n == -1:
			return " of the layer before"
		case n == 1:
			return " of the next layer"
		case n < 0:
			return fmt.Sprintf(" of %s layers before", spelt(-n))
		}
		return fmt.Sprintf(" of %s layers after", spelt(n))
	})
}

// spelt spells a small number.
func spelt(n int) string {
	if n == 2 {
		return "two"
	}
	return fmt.Sprint(n)
}

// outsideBlocks reports whether a stage's name is of none of the blocks.
func outsideBlocks(word string) bool {
	switch word {
	case "wte", "wpe", "embed", "ln_f", "logits", "logits_last", "next_token":
		return true
	}
	return false
}

// ownTerms returns what a stage reads, seen from there.
func ownTerms(cfg model.Config, s model.StageName) (names []string) {
	for _, name := range model.Reads(cfg, s.String()) {
		names = append(names, seenFrom(cfg, s, name))
	}
	return names
}

// rounded returns values as float32.
func rounded(x []float64) []float32 {
	out := make([]float32, len(x))
	for i, v := range x {
		out[i] = float32(v)
	}
	return out
}

// Ranges spells ascending numbers, first added to each: "0, 2 to 5, 9", cut short
// where it is long.
func Ranges(x []int, first int) string {
	const most = 8
	var parts []string
	for i := 0; i < len(x); {
		j := i
		for j+1 < len(x) && x[j+1] == x[j]+1 {
			j++
		}
		if j > i+1 {
			parts = append(parts, fmt.Sprintf("%d to %d", x[i]+first, x[j]+first))
			i = j + 1
		} else {
			parts = append(parts, fmt.Sprint(x[i]+first))
			i++
		}
		if len(parts) == most && i < len(x) {
			parts = append(parts, fmt.Sprintf("… (%d in all)", len(x)))
			break
		}
	}
	return strings.Join(parts, ", ")
}
