package faults

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"checkpoint12/harness/internal/shapes"
)

// axis is one dimension of a stage as a person names it. An axis of channels
// that holds heads is two.
type axis struct {
	name  string // "head"
	n     int
	first int // what the index 0 is called
}

// axesOf are the dimensions of a row's stage.
func (g *rowGroup) axesOf(e *wrongRow) []axis {
	cfg := g.model.Config()
	B, T, S := axis{"row of the batch", e.dims.B, 0}, axis{"position", e.dims.T, e.dims.P}, axis{"key position", e.dims.P + e.dims.T, 0}
	H, D := axis{"head", cfg.Heads, 0}, axis{"channel of a head", cfg.Embd / cfg.Heads, 0}
	switch kind(e.Stage) {
	case "wpe":
		return []axis{T, {"channel", cfg.Embd, 0}}
	case "attn.c_attn":
		return []axis{B, T, {"third (0 q, 1 k, 2 v)", 3, 0}, H, D}
	case "attn.context":
		return []axis{B, T, H, D}
	case "attn.q", "attn.k", "attn.v":
		return []axis{B, H, T, D}
	case "attn.cache_k", "attn.cache_v":
		return []axis{B, H, S, D}
	case "attn.scores", "attn.probs":
		return []axis{B, H, {"query position", T.n, T.first}, S}
	case "mlp.c_fc", "mlp.act":
		return []axis{B, T, {"unit", cfg.Inner, 0}}
	case "logits":
		return []axis{B, T, {"id", cfg.Vocab, 0}}
	case "next_token":
		return []axis{B}
	case "logits_last":
		return []axis{B, {"id", cfg.Vocab, 0}}
	}
	if strings.HasPrefix(e.Stage, "probs_t") {
		return []axis{B, {"id", cfg.Vocab, 0}}
	}
	return []axis{B, T, {"channel", cfg.Embd, 0}}
}

// lengths are the axes as a shape.
func lengths(axes []axis) []int {
	shape := make([]int, len(axes))
	for i, a := range axes {
		shape[i] = a.n
	}
	return shape
}

// isWrong says whether rounding does not account for a place.
func (e *wrongRow) isWrong(i int) bool {
	if e.got[i] == e.right[i] {
		return false
	}
	d := math.Abs(float64(e.got[i]) - float64(e.right[i]))
	return !(e.bound != nil && d <= float64(e.bound[i]))
}

// where says which part of the output is wrong; "" where that is no part of it
// in particular.
func (g *rowGroup) where(e *wrongRow) string {
	axes := g.axesOf(e)
	shape := lengths(axes)
	count := make([][]int, len(axes))
	for a := range axes {
		count[a] = make([]int, axes[a].n)
	}
	wrong, diagonal, hidden := 0, 0, 0
	for i := range e.got {
		if !e.isWrong(i) {
			continue
		}
		wrong++
		at := shapes.Index(i, shape)
		for a, j := range at {
			count[a][j]++
		}
		if n := len(at); n == 4 {
			switch ahead := at[n-1] - e.dims.P - at[n-2]; {
			case ahead == 0:
				diagonal++
			case ahead > 0:
				hidden++
			}
		}
	}
	if wrong == 0 {
		return ""
	}
	var parts []string
	if square := strings.HasSuffix(e.Stage, ".scores") || strings.HasSuffix(e.Stage, ".probs"); square && e.dims.T > 1 {
		switch wrong {
		case diagonal:
			parts = append(parts, "on the diagonal")
		case hidden:
			parts = append(parts, "at the places that the mask hides")
		}
	}
	room := len(e.got)
	for a, x := range axes {
		var set []int
		for j, n := range count[a] {
			if n > 0 {
				set = append(set, j+x.first)
			}
		}
		if x.n > 1 && 2*len(set) <= x.n {
			parts = append(parts, plural(x.name, len(set))+" "+ranges(set))
			room = room / x.n * len(set)
		}
	}
	if len(parts) == 0 || 4*wrong < room {
		return "" // scattered: that some indices are free of it is chance
	}
	if len(parts) == 1 && strings.HasPrefix(parts[0], "on ") || strings.HasPrefix(parts[0], "at ") {
		return parts[0]
	}
	return "in " + strings.Join(parts, ", ")
}

func plural(name string, n int) string {
	if n == 1 {
		return name
	}
	head, rest, ok := strings.Cut(name, " of ")
	if ok {
		return head + "s of " + rest
	}
	if head, rest, ok = strings.Cut(name, " ("); ok {
		return head + "s (" + rest
	}
	return name + "s"
}

// ranges spells ascending numbers: "0, 2 to 5, 9", cut short where it is long.
func ranges(x []int) string {
	var parts []string
	for i := 0; i < len(x); {
		j := i
		for j+1 < len(x) && x[j+1] == x[j]+1 {
			j++
		}
		switch {
		case j > i+1:
			parts = append(parts, fmt.Sprintf("%d to %d", x[i], x[j]))
			i = j + 1
		default:
			parts = append(parts, fmt.Sprint(x[i]))
			i++
		}
		if len(parts) == 8 && i < len(x) {
			parts = append(parts, fmt.Sprintf("… (%d in all)", len(x)))
			break
		}
	}
	return strings.Join(parts, ", ")
}

// wrongPlaces are the flat indices that rounding does not account for and where
// both values are finite.
func (e *wrongRow) wrongPlaces() []int {
	var at []int
	for i := range e.got {
		if e.isWrong(i) && finite(e.got[i]) && finite(e.right[i]) {
			at = append(at, i)
		}
	}
	return slices.Clip(at)
}
