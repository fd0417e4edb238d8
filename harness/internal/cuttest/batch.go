package cuttest

import (
	"math"
	"slices"
	"strings"

	"checkpoint12/harness"
	"checkpoint12/harness/gpt2/faults"
	"checkpoint12/harness/internal/harnesstest"
	"checkpoint12/harness/internal/shapes"
	"checkpoint12/model"
)

// A Batch is a padded batch, as a folder of it is.
type Batch struct {
	*harnesstest.Memory
	Ones [][]int
	Said harness.Cut // what the folder says of it
}

// Mask returns which of the tokens are no padding.
func (b *Batch) Mask() [][]int { return b.Ones }

// Cut returns what the folder says of how the batch was cut.
func (b *Batch) Cut() harness.Cut { return b.Said }

// Pad returns rows of tokens with padding, and the mask: prompts of these lengths end
// together after padding on the left or, where right says so of a row, begin together and
// have it between the prompt and what comes after.
func Pad(rows [][]int, prompts []int, right func(row int) bool) (tokens, mask [][]int) {
	var first [][]int
	for b, row := range rows {
		first = append(first, row[:prompts[b]])
	}
	left, leftMask := model.Pad(first, 0, false)
	after, afterMask := model.Pad(first, 0, true)
	for b, row := range rows {
		own, is := left[b], leftMask[b]
		if right(b) {
			own, is = after[b], afterMask[b]
		}
		tokens = append(tokens, append(own, row[prompts[b]:]...))
		mask = append(mask, append(is, slices.Repeat([]int{1}, len(row)-prompts[b])...))
	}
	return tokens, mask
}

// Pack runs each row by itself and packs the runs into a padded batch that is cut as given,
// in columns. What stands at padding comes from garbage; keys there hold masked in scores.
func Pack(
	t harnesstest.Tester, m *model.Model, tokens, mask [][]int, cut harness.Cut, masked float32, garbage func() float32,
	plant func(row int, at harness.Place, c *faults.Context) []float32,
) *Batch {
	t.Helper()
	b := &Batch{&harnesstest.Memory{Title: "batch", Fed: tokens, Kept: harnesstest.Steps{}}, mask, nil}
	for row := range tokens {
		var own []int
		before := []int{0}
		for j, one := range mask[row] {
			if before = append(before, before[j]+one); one == 1 {
				own = append(own, tokens[row][j])
			}
		}
		var spans harness.Cut
		var steps []int
		for k, s := range cut {
			if n := before[s.End()] - before[s.P]; n > 0 {
				spans, steps = append(spans, harness.Span{P: before[s.P], T: n}), append(steps, k)
			}
		}
		var tap func(at harness.Place, c *faults.Context) []float32
		if plant != nil {
			tap = func(at harness.Place, c *faults.Context) []float32 {
				return plant(row, harness.Place{Step: steps[at.Step], Stage: at.Stage}, c)
			}
		}
		run := Run(t, m, [][]int{own[:spans[len(spans)-1].End()]}, spans, tap)
		for i, k := range steps {
			for _, stage := range run.Stages(i) {
				x, err := run.Tensor(i, stage)
				if err != nil {
					t.Fatal(err)
				}
				b.put(row, harness.Place{Step: k, Stage: stage}, x, cut[k], masked, garbage)
			}
		}
	}
	return b
}

// put puts the tensor of a row at its place in the batch's.
func (b *Batch) put(row int, at harness.Place, x harness.Tensor, span harness.Span, masked float32, garbage func() float32) {
	axes, own := strings.Fields(model.Axes(at.Stage)), slices.Clone(x.Shape)
	if axes[0] != "B" {
		axes, own = slices.Insert(axes, 0, "B"), slices.Insert(own, 0, 1)
	}
	shape, queries, keys := slices.Clone(own), slices.Index(axes, "T"), slices.Index(axes, "S")
	shape[0] = len(b.Fed)
	var columns, fed []int // of the row's tokens, up to the end of the step and in it
	for j := range span.End() {
		if b.Ones[row][j] == 1 {
			if columns = append(columns, j); j >= span.P {
				fed = append(fed, j-span.P)
			}
		}
	}
	if queries >= 0 {
		shape[queries] = span.T
	}
	if keys >= 0 {
		shape[keys] = span.End()
	}
	n, _ := shapes.Size(shape)
	whole, ok := b.Kept[at.Step][at.Stage]
	if !ok {
		whole.Shape = shape
		if x.IDs() {
			whole.I64 = slices.Repeat([]int64{-1}, n)
		} else {
			for range n {
				whole.F32 = append(whole.F32, garbage())
			}
		}
		if b.Kept[at.Step] == nil {
			b.Kept[at.Step] = map[string]harness.Tensor{}
		}
		b.Kept[at.Step][at.Stage] = whole
	}
	if x.IDs() {
		whole.I64[row] = x.I64[0]
		return
	}
	last := len(shape) - 1
	lines, _ := shapes.Size(own[:last])
	for line := range lines {
		index := shapes.Index(line, own[:last])
		index[0] = row
		if queries > 0 && queries < last {
			index[queries] = fed[index[queries]]
		}
		if keys > 0 && keys < last {
			index[keys] = columns[index[keys]]
		}
		to, from := shapes.Flat(index, shape[:last])*shape[last], line*own[last]
		switch {
		case keys < last:
			copy(whole.F32[to:], x.F32[from:][:own[last]])
		default:
			hidden := masked
			if strings.HasSuffix(at.Stage, "probs") {
				hidden = 0
			}
			for j := range shape[last] { // keys at padding among them
				whole.F32[to+j] = hidden
			}
			for j, column := range columns {
				if v := x.F32[from+j]; !math.IsInf(float64(v), -1) {
					whole.F32[to+column] = v
				}
			}
		}
	}
}
