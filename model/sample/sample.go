// Package sample draws tokens from logits and continues prompts with them.
package sample

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"checkpoint12/model"
	"checkpoint12/model/internal/kernel"
)

// GreedyBelow is the temperature under which sampling is argmax: less might overflow.
const GreedyBelow = 1e-6

// ErrNoDistribution is wrapped by the error for logits none, NaN, +Inf or all -Inf.
var ErrNoDistribution = errors.New("logits hold no distribution")

// Argmax returns the lowest index of the largest value, or -1 for none or a NaN.
func Argmax(x []float32) int { return kernel.Argmax(x) }

// Softmax writes softmax(src/temperature) to dst: NaN where there is none.
func Softmax(dst, src []float32, temperature float64) { kernel.Softmax(dst, src, temperature) }

// Options choose a token from logits. The zero value is argmax.
type Options struct {
	// Temperature divides the logits; below GreedyBelow the choice is argmax.
	Temperature float64
	// TopK keeps the K most probable tokens, of equals the lower id; 0 keeps all.
	TopK int
	// TopP keeps the fewest tokens, most probable first, that together have at
	// least probability P among those TopK kept; 0 and 1 keep all.
	TopP float64
	Seed uint64 // of the generator, PCG
}

// Sampler draws tokens, for one sequence and one goroutine.
type Sampler struct {
	options Options
	rng     *rand.Rand
	weight  []float64 // [V] exp((logit-max)/temperature); 0 where TopK or TopP cut
	ids     []int     // [V] most probable first
}

// New returns a sampler at the start of its seed's sequence.
func New(o Options) (*Sampler, error) {
	switch {
	case !(o.Temperature >= 0) || math.IsInf(o.Temperature, 0):
		return nil, fmt.Errorf("temperature %v: want a finite number, 0 (argmax) or more", o.Temperature)
	case o.TopK < 0:
		return nil, fmt.Errorf("top-k %d: want 0 (all tokens) or more", o.TopK)
	case !(o.TopP >= 0 && o.TopP <= 1):
		return nil, fmt.Errorf("top-p %v: want a probability, from 0 to 1 (both: all tokens)", o.TopP)
	}
	// PCG's second word picks the stream; any constant will do.
	return &Sampler{options: o, rng: rand.New(rand.NewPCG(o.Seed, 0x9e3779b97f4a7c15))}, nil
}

// Next draws a token id from logits [V], or fails with ErrNoDistribution.
func (s *Sampler) Next(logits []float32) (int, error) {
	best := Argmax(logits)
	if best < 0 || math.IsInf(float64(logits[best]), 0) {
		return 0, noDistribution(logits)
	}
	if s.options.Temperature < GreedyBelow {
		return best, nil
	}
	if len(s.weight) != len(logits) {
		s.weight = make([]float64, len(logits))
	}
	var total float64
	for i, v := range logits {
		w := math.Exp((float64(v) - float64(logits[best])) / s.options.Temperature)
		s.weight[i] = w
		total += w
	}
	total = s.cut(logits, total)
	// In the order of ids, so that a cut that removes nothing changes nothing.
	left := s.rng.Float64() * total
	last := best
	for i, w := range s.weight {
		if w == 0 {
			continue
		}
		last = i
		if left -= w; left < 0 {
			break
		}
	}
	return last, nil // rounding may leave a rest: it belongs to the last
}

// cut zeroes the weights that TopK and TopP leave out and returns the others' sum.
func (s *Sampler) cut(logits []float32, total float64) float64 {
	all := len(logits)
	k, p := min(cmp.Or(s.options.TopK, all), all), cmp.Or(s.options.TopP, 1)
	if k == all && p == 1 {
		return total
	}
	s.ids = s.ids[:0]
	for id := range logits {
		s.ids = append(s.ids, id)
	}
	slices.SortFunc(s.ids, func(a, b int) int {
		return cmp.Or(cmp.Compare(logits[b], logits[a]), cmp.Compare(a, b))
	})
	if k < all { // P is a share of what K leaves
		total = 0
		for _, id := range s.ids[:k] {
			total += s.weight[id]
		}
	}
	n, sum := 0, 0.0
	for n < k && (p == 1 || n == 0 || sum < p*total) {
		sum += s.weight[s.ids[n]]
		n++
	}
	for _, id := range s.ids[n:] {
		s.weight[id] = 0
	}
	return sum
}

func noDistribution(logits []float32) error {
	for i, v := range logits {
		if math.IsNaN(float64(v)) || math.IsInf(float64(v), 1) {
			return fmt.Errorf("%w: logit %d of %d is %v", ErrNoDistribution, i, len(logits), v)
		}
	}
	return fmt.Errorf("%w: none of %d is finite", ErrNoDistribution, len(logits))
}

// Generate continues prompts by n tokens each, n at least 1, and returns both together.
// Shorter prompts are padded on the left. Each row draws from a stream of its own.
// The end-of-text token ends nothing. The last token is never fed, so len(prompt)+n-1
// positions are used; more than the model has is [model.ErrTooLong].
//
// each, if it is not nil, is called with every new token and its row; its error ends the
// generation, as does the end of ctx. With any error come the tokens until then.
func Generate(
	ctx context.Context, m *model.Model, prompts [][]int, n int, o Options, each func(row, id int) error,
) (rows [][]int, err error) {
	samplers := make([]*Sampler, len(prompts))
	for b := range prompts {
		own := o
		own.Seed += uint64(b)
		if samplers[b], err = New(own); err != nil {
			return nil, err
		}
		if len(prompts[b]) == 0 {
			return nil, errors.New("the prompt has no tokens: want at least one, such as <|endoftext|>")
		}
	}
	padded, mask := model.Pad(prompts, 0, false)
	longest, positions, V := len(padded[0]), m.Config().Positions, m.Config().Vocab
	switch {
	case n < 1:
		return nil, fmt.Errorf("%d new tokens: want 1 or more", n)
	case longest > positions || n-1 > positions-longest:
		return nil, fmt.Errorf("%w: a prompt of length %d leaves room for %d more, not %d (n_positions is %d)",
			model.ErrTooLong, longest, max(0, positions-longest+1), n, positions)
	}
	session, err := m.NewSession(model.SessionOptions{Batch: len(prompts), Length: longest + n - 1, Mask: mask})
	if err != nil {
		return nil, err
	}
	for _, prompt := range prompts {
		rows = append(rows, append(make([]int, 0, len(prompt)+n), prompt...))
	}
	feed := slices.Concat(padded...)
	for k := range n {
		if ctx.Err() != nil {
			return rows, fmt.Errorf("stopped after %d of %d new tokens: %w", k, n, context.Cause(ctx))
		}
		if _, err := session.Step(feed); err != nil {
			return rows, err
		}
		feed = feed[:len(rows)]
		for b := range rows {
			id, err := samplers[b].Next(session.LogitsLast()[b*V:][:V])
			if err != nil {
				return rows, fmt.Errorf("new token %d: %w", k+1, err)
			}
			rows[b], feed[b] = append(rows[b], id), id
			if each != nil {
				if err := each(b, id); err != nil {
					return rows, err
				}
			}
		}
	}
	return rows, nil
}
