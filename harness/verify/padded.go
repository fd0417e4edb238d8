package verify

import (
	"slices"

	"checkpoint12/harness"
	"checkpoint12/harness/dump"
	"checkpoint12/model"
)

// paddedCases returns the cases in which an engine is fed the prompts of other cases as one
// batch, padded on the left and on the right; none where no two of these, of which one is
// longer, are there.
func paddedCases(cases []*Case) []*Case {
	var parts []*Case
	for _, name := range []string{"hello", "once-upon", "answer"} {
		i := slices.IndexFunc(cases, func(c *Case) bool { return c.Name == name && len(c.Tokens) == 1 })
		if i >= 0 {
			parts = append(parts, cases[i])
		}
	}
	if _, mask := model.Pad(promptsOf(parts), 0, false); mask == nil {
		return nil
	}
	left, right := &Case{Name: "padded-left", parts: parts}, &Case{Name: "padded-right", parts: parts, right: true}
	for _, c := range []*Case{left, right} {
		c.Tokens, c.New = promptsOf(parts), parts[0].New
		for _, p := range parts {
			c.Goldens, c.New = append(c.Goldens, p.Goldens...), min(c.New, p.Goldens[0].manifest.New)
		}
	}
	return []*Case{left, right}
}

// promptsOf returns the prompts of cases of one row.
func promptsOf(cases []*Case) (prompts [][]int) {
	for _, c := range cases {
		prompts = append(prompts, c.Tokens[0])
	}
	return prompts
}

// feed returns what an engine is fed of a case, the mask, and the prompt's length: the
// tokens of a golden, or of a padded case those of the first golden of each part.
func (c *Case) feed(g *Golden) (tokens, mask [][]int, prompt int) {
	if c.parts == nil {
		for _, row := range g.tokens {
			mask = append(mask, slices.Repeat([]int{1}, len(row)))
		}
		return g.tokens, mask, g.prompt()
	}
	prompts, mask := model.Pad(c.Tokens, 0, c.right)
	for b, p := range c.parts {
		prompt = len(prompts[b])
		tokens = append(tokens, slices.Concat(prompts[b], p.Goldens[0].tokens[0][len(c.Tokens[b]):][:c.New]))
		mask[b] = append(mask[b], slices.Repeat([]int{1}, c.New)...)
	}
	return tokens, mask, prompt
}

// fedAs is a dump that is known to have been fed tokens and padding, if it does not say so.
type fedAs struct {
	*dump.Dump
	tokens, mask [][]int
}

// Tokens returns what the dump says it was fed, else what it was given.
func (d fedAs) Tokens() [][]int {
	if own := d.Dump.Tokens(); own != nil {
		return own
	}
	return d.tokens
}

// Mask returns what the dump says of padding, else what it was given.
func (d fedAs) Mask() [][]int {
	if own := harness.MaskOf(d.Dump); own != nil {
		return own
	}
	return d.mask
}
